{{/* Refusals of what a schema cannot say: of the gateway. */}}

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

{{/* Doors that lead nowhere. */}}
{{- define "clip-image-flow.checkRoutes" -}}
  {{- with .Values.gateway -}}
    {{- if and .ingress.enabled (not .ingress.hosts) -}}
      {{- fail "values: gateway.ingress: enabled, so hosts must name one at least" -}}
    {{- end -}}
    {{- if and .ingress.enabled (not .ingress.paths) -}}
      {{- fail "values: gateway.ingress: enabled, so paths must name one at least: `/` for all" -}}
    {{- end -}}
    {{- range $name := list "httpRoute" "grpcRoute" -}}
      {{- $route := get $.Values.gateway $name -}}
      {{- if and $route.enabled (not $route.parentRefs) -}}
        {{- fail (printf "values: gateway.%s: enabled, so parentRefs must name a Gateway" $name) -}}
      {{- end -}}
      {{- with $.Values.gateway.tls -}}
        {{- if and $route.enabled .existingSecret (not .backendPolicy.hostname) -}}
          {{- $says := "enabled, and the gateway speaks TLS: gateway.tls.backendPolicy.hostname must say what name" -}}
          {{- fail (printf "values: gateway.%s: %s its certificate has, or it would be sent plain text" $name $says) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
    {{- with .tls.backendPolicy -}}
      {{- if and .hostname (not $.Values.gateway.tls.existingSecret) -}}
        {{- fail "values: gateway.tls.backendPolicy: set, so gateway.tls.existingSecret must name the certificate" -}}
      {{- end -}}
      {{- if and .hostname (eq (empty .caCertificateRefs) (empty .wellKnownCACertificates)) -}}
        {{- $says := "hostname is set, so caCertificateRefs or wellKnownCACertificates must say whom to trust" -}}
        {{- fail (printf "values: gateway.tls.backendPolicy: %s" $says) -}}
      {{- end -}}
    {{- end -}}
    {{- range $at, $hosts := dict "ingress.hosts" .ingress.hosts "httpRoute.hostnames" .httpRoute.hostnames
      "grpcRoute.hostnames" .grpcRoute.hostnames -}}
      {{- range $hosts -}}
        {{- if not (regexMatch "^(\\*\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$" .) -}}
          {{- $says := "is no host name: lower case, without a scheme, port or path" -}}
          {{- fail (printf "values: gateway.%s: %q %s" $at . $says) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{/* Whoever opens the gateway to the outside says who may come in. */}}
{{- define "clip-image-flow.checkAccess" -}}
  {{- with .Values.gateway -}}
    {{- $open := list -}}
    {{- if eq .service.type "LoadBalancer" }}{{- $open = append $open "service.type: LoadBalancer" }}{{ end -}}
    {{- range $name := list "ingress" "httpRoute" "grpcRoute" -}}
      {{- if (get $.Values.gateway $name).enabled }}{{- $open = append $open (printf "%s.enabled" $name) }}{{ end -}}
    {{- end -}}
    {{- if and $open (not .auth.existingSecret) (not .auth.anonymous) -}}
      {{- $says := "opens it to callers from outside, so auth.existingSecret must name a Secret with tokens" -}}
      {{- fail (printf "values: gateway.%s %s, or auth.anonymous: true let everybody in" (first $open) $says) -}}
    {{- end -}}
    {{- if and .auth.existingSecret .auth.anonymous -}}
      {{- $says := "lets everybody in, and auth.existingSecret only callers with a token: set one of them" -}}
      {{- fail (printf "values: gateway.auth.anonymous: true %s" $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{- define "clip-image-flow.checkService" -}}
  {{- with .Values.gateway.service -}}
    {{- $outside := printf "values: gateway.service: type is %s, so" .type -}}
    {{- if and .nodePorts (eq .type "ClusterIP") -}}
      {{- fail (printf "%s nodePorts have no effect: set type to NodePort, or drop them" $outside) -}}
    {{- end -}}
    {{- if and .externalTrafficPolicy (eq .type "ClusterIP") -}}
      {{- fail (printf "%s externalTrafficPolicy has no effect: set type to LoadBalancer, or drop it" $outside) -}}
    {{- end -}}
    {{- range $key := list "loadBalancerSourceRanges" "loadBalancerClass" -}}
      {{- if and (get $.Values.gateway.service $key) (ne $.Values.gateway.service.type "LoadBalancer") -}}
        {{- fail (printf "%s %s has no effect: set type to LoadBalancer, or drop it" $outside $key) -}}
      {{- end -}}
    {{- end -}}
    {{- range .loadBalancerSourceRanges -}}
      {{- if not (regexMatch "^[0-9a-fA-F.:]+/[0-9]{1,3}$" .) -}}
        {{- $says := "is no range of addresses, such as 203.0.113.0/24" -}}
        {{- fail (printf "values: gateway.service.loadBalancerSourceRanges: %q %s" . $says) -}}
      {{- end -}}
    {{- end -}}
    {{- with .nodePorts -}}
      {{- if gt (len .) (values . | uniq | len) -}}
        {{- fail "values: gateway.service.nodePorts: grpc and http are the same port: give each its own" -}}
      {{- end -}}
    {{- end -}}
    {{- $ports := include "clip-image-flow.clientPorts" $ | fromJson -}}
    {{- if eq (int $ports.grpc.service) (int $ports.http.service) -}}
      {{- $says := "grpc and http are both on %d: give each a port of its own" -}}
      {{- fail (printf (print "values: gateway.service.ports: " $says) (int $ports.http.service)) -}}
    {{- end -}}
    {{- if gt (len .ipFamilies) (uniq .ipFamilies | len) -}}
      {{- fail (printf "values: gateway.service.ipFamilies: %s is there twice" (first .ipFamilies)) -}}
    {{- end -}}
    {{- if and (gt (len .ipFamilies) 1) (eq (.ipFamilyPolicy | default "SingleStack") "SingleStack") -}}
      {{- $says := "names two, so ipFamilyPolicy must be PreferDualStack or RequireDualStack" -}}
      {{- fail (printf "values: gateway.service.ipFamilies: %s" $says) -}}
    {{- end -}}
    {{- include "clip-image-flow.checkKeys" (dict "at" "values: gateway.service.labels" "labels" .labels) -}}
    {{- include "clip-image-flow.checkKeys" (dict "at" "values: gateway.service.annotations"
      "annotations" .annotations) -}}
  {{- end -}}
{{- end }}

{{/*
The gateway holds bodies in what its limit leaves beyond 160 MiB, an eighth of it (gateway/clip_gateway/memory.py): what
does not fit ends it.
*/}}
{{- define "clip-image-flow.checkGatewayMemory" -}}
  {{- $node := (include "clip-image-flow.topology" . | fromJson).gateway -}}
  {{- $settings := include "clip-image-flow.usesWith" (list $node.usesWith .Values.gateway.usesWith) | fromJson -}}
  {{- $resources := include "clip-image-flow.pruned" .Values.gateway.resources | fromYaml -}}
  {{- with dig "limits" "memory" "" $resources -}}
    {{- $limit := include "clip-image-flow.number" . | float64 -}}
    {{- $memory := $settings.memory_bytes | default $limit | float64 -}}
    {{- if gt $memory $limit -}}
      {{- $says := "is more than resources.limits.memory (%v): drop it, and the gateway takes the limit" -}}
      {{- fail (printf (print "values: gateway.usesWith.memory_bytes (%.0f) " $says) $memory .) -}}
    {{- end -}}
    {{- $idle := 167772160.0 -}}
    {{- $body := $settings.max_body_bytes | default 33554432 | float64 -}}
    {{- range $name, $bytes := dict "max_body_bytes" $body "max_bytes_under_way" $settings.max_bytes_under_way -}}
      {{- $needed := addf $idle (mulf 8.0 ($bytes | default 0 | float64)) -}}
      {{- if gt $needed $memory -}}
        {{- $says := "does not hold usesWith.%s (%.0f), which takes 160 MiB and eight times as much: set the limit" -}}
        {{- $most := divf (subf $memory $idle) 8.0 | maxf 1.0 -}}
        {{- fail (printf (print "values: gateway.resources.limits.memory (%v) " $says " to %s, or the option to %.0f")
          $.Values.gateway.resources.limits.memory $name ($bytes | float64)
          (include "clip-image-flow.mebibytes" $needed) $most) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end }}
