{{/* Checks of the gateway's values that a JSON schema cannot express. */}}

{{- define "clip-image-flow.checkGateway" -}}
  {{- include "clip-image-flow.checkRoutes" . -}}
  {{- include "clip-image-flow.checkAccess" . -}}
  {{- include "clip-image-flow.checkService" . -}}
  {{- $mounts := list "/home/app" "/tmp" -}}
  {{- $volumes := list "home" "tmp" -}}
  {{- if .Values.gateway.auth.existingSecret -}}
    {{- $mounts = append $mounts "/etc/clip-gateway/auth" -}}
    {{- $volumes = append $volumes "auth" -}}
  {{- end -}}
  {{- if .Values.gateway.tls.existingSecret -}}
    {{- $mounts = append $mounts "/etc/clip-gateway/tls" -}}
    {{- $volumes = append $volumes "tls" -}}
  {{- end -}}
  {{- include "clip-image-flow.checkRole" (dict "at" "values: gateway" "values" .Values.gateway
    "mounts" $mounts "volumes" $volumes) -}}
  {{- include "clip-image-flow.checkGatewayMemory" . -}}
{{- end }}

{{/* An Ingress or route without hosts, paths, Gateways or a trusted certificate would not work. */}}
{{- define "clip-image-flow.checkRoutes" -}}
  {{- with .Values.gateway -}}
    {{- if and .ingress.enabled (not .ingress.hosts) -}}
      {{- fail "values: gateway.ingress: enabled, so hosts must contain at least one host name" -}}
    {{- end -}}
    {{- if and .ingress.enabled (not .ingress.paths) -}}
      {{- fail "values: gateway.ingress: enabled, so paths must contain at least one path: `/` for all" -}}
    {{- end -}}
    {{- range $name := list "httpRoute" "grpcRoute" -}}
      {{- $route := get $.Values.gateway $name -}}
      {{- if and $route.enabled (not $route.parentRefs) -}}
        {{- fail (printf "values: gateway.%s: enabled, so parentRefs must name a Gateway" $name) -}}
      {{- end -}}
      {{- with $.Values.gateway.tls -}}
        {{- if and $route.enabled .existingSecret (not .backendPolicy.hostname) -}}
          {{- $says := "enabled, and the gateway uses TLS: set gateway.tls.backendPolicy.hostname to the name in" -}}
          {{- $says = print $says " its certificate; without it the route sends plain text" -}}
          {{- fail (printf "values: gateway.%s: %s" $name $says) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
    {{- with .tls.backendPolicy -}}
      {{- if and .hostname (not $.Values.gateway.tls.existingSecret) -}}
        {{- $says := "hostname is set, so gateway.tls.existingSecret must name the Secret with the certificate" -}}
        {{- fail (printf "values: gateway.tls.backendPolicy: %s" $says) -}}
      {{- end -}}
      {{- if and .hostname (eq (empty .caCertificateRefs) (empty .wellKnownCACertificates)) -}}
        {{- $says := "hostname is set, so exactly one of caCertificateRefs and wellKnownCACertificates must be set" -}}
        {{- fail (printf "values: gateway.tls.backendPolicy: %s" $says) -}}
      {{- end -}}
    {{- end -}}
    {{- range $at, $hosts := dict "ingress.hosts" .ingress.hosts "httpRoute.hostnames" .httpRoute.hostnames
      "grpcRoute.hostnames" .grpcRoute.hostnames -}}
      {{- range $hosts -}}
        {{- if not (regexMatch "^(\\*\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$" .) -}}
          {{- $says := "is not a valid host name: use lower case, without a scheme, port or path" -}}
          {{- fail (printf "values: gateway.%s: %q %s" $at . $says) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{/* A gateway that is exposed outside the cluster needs tokens, or explicit permission for public access. */}}
{{- define "clip-image-flow.checkAccess" -}}
  {{- with .Values.gateway -}}
    {{- $open := list -}}
    {{- if eq .service.type "LoadBalancer" }}{{- $open = append $open "service.type: LoadBalancer" }}{{ end -}}
    {{- range $name := list "ingress" "httpRoute" "grpcRoute" -}}
      {{- if (get $.Values.gateway $name).enabled }}{{- $open = append $open (printf "%s.enabled" $name) }}{{ end -}}
    {{- end -}}
    {{- if and $open (not .auth.existingSecret) (not .auth.anonymous) -}}
      {{- $says := "exposes the gateway outside the cluster: set gateway.auth.existingSecret to a Secret with" -}}
      {{- $public := "tokens, or gateway.auth.anonymous: true for public access" -}}
      {{- fail (printf "values: gateway.%s %s %s" (first $open) $says $public) -}}
    {{- end -}}
    {{- if and .auth.existingSecret .auth.anonymous -}}
      {{- $says := "allows public access, but auth.existingSecret requires tokens: set only one of them" -}}
      {{- fail (printf "values: gateway.auth.anonymous: true %s" $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{- define "clip-image-flow.checkService" -}}
  {{- with .Values.gateway.service -}}
    {{- $outside := printf "values: gateway.service: type is %s, so" .type -}}
    {{- if and .nodePorts (eq .type "ClusterIP") -}}
      {{- fail (printf "%s nodePorts have no effect: set type to NodePort, or remove them" $outside) -}}
    {{- end -}}
    {{- if and .externalTrafficPolicy (eq .type "ClusterIP") -}}
      {{- fail (printf "%s externalTrafficPolicy has no effect: set type to LoadBalancer, or remove it" $outside) -}}
    {{- end -}}
    {{- range $key := list "loadBalancerSourceRanges" "loadBalancerClass" -}}
      {{- if and (get $.Values.gateway.service $key) (ne $.Values.gateway.service.type "LoadBalancer") -}}
        {{- fail (printf "%s %s has no effect: set type to LoadBalancer, or remove it" $outside $key) -}}
      {{- end -}}
    {{- end -}}
    {{- range .loadBalancerSourceRanges -}}
      {{- if not (regexMatch "^[0-9a-fA-F.:]+/[0-9]{1,3}$" .) -}}
        {{- $says := "is not a valid address range: use CIDR notation, such as 203.0.113.0/24" -}}
        {{- fail (printf "values: gateway.service.loadBalancerSourceRanges: %q %s" . $says) -}}
      {{- end -}}
    {{- end -}}
    {{- with .nodePorts -}}
      {{- if gt (len .) (values . | uniq | len) -}}
        {{- fail "values: gateway.service.nodePorts: grpc and http use the same port: set different ports" -}}
      {{- end -}}
    {{- end -}}
    {{- $ports := include "clip-image-flow.clientPorts" $ | fromJson -}}
    {{- if eq (int $ports.grpc) (int $ports.http) -}}
      {{- $says := "grpc and http both use port %d: set different ports" -}}
      {{- fail (printf (print "values: gateway.service.ports: " $says) (int $ports.http)) -}}
    {{- end -}}
    {{- if gt (len .ipFamilies) (uniq .ipFamilies | len) -}}
      {{- fail (printf "values: gateway.service.ipFamilies: %s is listed twice: remove one" (first .ipFamilies)) -}}
    {{- end -}}
    {{- if and (gt (len .ipFamilies) 1) (eq (.ipFamilyPolicy | default "SingleStack") "SingleStack") -}}
      {{- $says := "lists two, so ipFamilyPolicy must be PreferDualStack or RequireDualStack" -}}
      {{- fail (printf "values: gateway.service.ipFamilies: %s" $says) -}}
    {{- end -}}
    {{- include "clip-image-flow.checkKeys" (dict "at" "values: gateway.service.labels" "labels" .labels) -}}
    {{- include "clip-image-flow.checkKeys" (dict "at" "values: gateway.service.annotations"
      "annotations" .annotations) -}}
  {{- end -}}
{{- end }}

{{/*
The gateway uses 160 MiB, and eight bytes of memory for each byte of a request body (gateway/clip_gateway/memory.py):
above its limit it is OOM-killed.
*/}}
{{- define "clip-image-flow.checkGatewayMemory" -}}
  {{- $node := (include "clip-image-flow.topology" . | fromJson).gateway -}}
  {{- $settings := include "clip-image-flow.usesWith" (list $node.usesWith .Values.gateway.usesWith) | fromJson -}}
  {{- $resources := include "clip-image-flow.pruned" .Values.gateway.resources | fromYaml -}}
  {{- with dig "limits" "memory" "" $resources -}}
    {{- $limit := include "clip-image-flow.number" . | float64 -}}
    {{- $memory := $settings.memory_bytes | default $limit | float64 -}}
    {{- if gt $memory $limit -}}
      {{- $says := "is more than resources.limits.memory (%v): remove it, and the gateway uses the limit" -}}
      {{- fail (printf (print "values: gateway.usesWith.memory_bytes (%.0f) " $says) $memory .) -}}
    {{- end -}}
    {{- $idle := 167772160.0 -}}
    {{- $body := $settings.max_body_bytes | default 33554432 | float64 -}}
    {{- range $name, $bytes := dict "max_body_bytes" $body "max_bytes_under_way" $settings.max_bytes_under_way -}}
      {{- $needed := addf $idle (mulf 8.0 ($bytes | default 0 | float64)) -}}
      {{- if gt $needed $memory -}}
        {{- $says := "is too small for usesWith.%s (%.0f), which needs 160 MiB plus eight times its size" -}}
        {{- $most := divf (subf $memory $idle) 8.0 | maxf 1.0 -}}
        {{- $fix := "raise the limit to %s, or lower the option to %.0f" -}}
        {{- fail (printf (printf "values: gateway.resources.limits.memory (%%v) %s: %s" $says $fix)
          $.Values.gateway.resources.limits.memory $name ($bytes | float64)
          (include "clip-image-flow.mebibytes" $needed) $most) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end }}
