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

{{/* The gateway's ports for clients, without the metrics port, as its Service has them: {grpc: 8080, http: 8081}. */}}
{{- define "clip-image-flow.clientPorts" -}}
  {{- $ports := dict -}}
  {{- range (include "clip-image-flow.topology" . | fromJson).gateway.ports -}}
    {{- if has .name (list "grpc" "http") -}}
      {{- $_ := set $ports .name (get $.Values.gateway.service.ports .name | default .port) -}}
    {{- end -}}
  {{- end -}}
  {{- toJson $ports -}}
{{- end }}

{{/* The IP families of a Service. */}}
{{- define "clip-image-flow.ipFamilies" -}}
{{- with .Values.gateway.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.gateway.service.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The `appProtocol` of a port of the gateway's Service, from the values, or for a GRPCRoute without TLS. */}}
{{- define "clip-image-flow.appProtocol" -}}
  {{- $gateway := .root.Values.gateway -}}
  {{- $plain := and (eq .name "grpc") $gateway.grpcRoute.enabled (not $gateway.tls.existingSecret) -}}
  {{- get $gateway.service.appProtocols .name | default (ternary "kubernetes.io/h2c" "" $plain) -}}
{{- end }}
