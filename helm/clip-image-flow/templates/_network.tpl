{{/* Peers and rules of NetworkPolicies. */}}

{{- define "clip.dnsEgress" -}}
- to: {{- toYaml .Values.networkPolicy.dns.to | nindent 4 }}
  ports:
    - {protocol: UDP, port: {{ .Values.networkPolicy.dns.port }}}
    - {protocol: TCP, port: {{ .Values.networkPolicy.dns.port }}}
{{- end }}

{{- define "clip.policyPorts" -}}
{{- range .ports }}
- {protocol: TCP, port: {{ .port }}}
{{- end }}
{{- end }}
