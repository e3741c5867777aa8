{{/* Peers, ports and rules of NetworkPolicies and Services. */}}

{{- define "clip-image-flow.dnsEgress" -}}
- to: {{- toYaml .Values.networkPolicy.dns.to | nindent 4 }}
  ports:
    - {protocol: UDP, port: {{ .Values.networkPolicy.dns.port }}}
    - {protocol: TCP, port: {{ .Values.networkPolicy.dns.port }}}
{{- if include "clip-image-flow.openshift" . }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: openshift-dns}}
  ports:
    - {protocol: UDP, port: 5353}
    - {protocol: TCP, port: 5353}
{{- end }}
{{- end }}

{{- define "clip-image-flow.policyPorts" -}}
{{- range .ports }}
- {protocol: TCP, port: {{ .port }}}
{{- end }}
{{- end }}

{{/* The ports of the gateway that callers use, as {grpc: {own, service}, http: ...}: not the one of metrics. */}}
{{- define "clip-image-flow.doors" -}}
  {{- $doors := dict -}}
  {{- range (include "clip-image-flow.topology" . | fromJson).gateway.ports -}}
    {{- if has .name (list "grpc" "http") -}}
      {{- $service := get $.Values.gateway.service.ports .name | default .port -}}
      {{- $_ := set $doors .name (dict "own" .port "service" $service) -}}
    {{- end -}}
  {{- end -}}
  {{- toJson $doors -}}
{{- end }}

{{/* Which addresses a Service has. */}}
{{- define "clip-image-flow.ipFamilies" -}}
{{- with .Values.gateway.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.gateway.service.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What is spoken on a port of the gateway's Service, where the values or a GRPCRoute want it said. */}}
{{- define "clip-image-flow.appProtocol" -}}
  {{- $gateway := .root.Values.gateway -}}
  {{- $plain := and (eq .name "grpc") $gateway.grpcRoute.enabled (not $gateway.tls.existingSecret) -}}
  {{- get $gateway.service.appProtocols .name | default (ternary "kubernetes.io/h2c" "" $plain) -}}
{{- end }}
