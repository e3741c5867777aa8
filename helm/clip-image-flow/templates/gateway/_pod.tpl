{{/* The spec of the gateway's pods. */}}
{{- define "clip-image-flow.gatewayPod" -}}
{{- $at := . }}
{{- $values := .values }}
{{- $files := dict }}
{{- with $values.auth.existingSecret }}
  {{- $_ := set $files "tokens_file" (printf "/etc/clip-gateway/auth/%s" $values.auth.key) }}
{{- end }}
{{- with $values.tls.existingSecret }}
  {{- $_ := set $files "tls_certificate_file" "/etc/clip-gateway/tls/tls.crt" }}
  {{- $_ := set $files "tls_key_file" "/etc/clip-gateway/tls/tls.key" }}
{{- end }}
{{- $settings := include "clip-image-flow.usesWith" (list .node.usesWith $values.usesWith $files) }}
{{- $env := list (dict "name" "LOG_FORMAT" "value" $values.logFormat) }}
{{- $env = include "clip-image-flow.tracingEnv" .root | fromJsonArray | concat $env }}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty $values.tls.existingSecret)) }}
{{- include "clip-image-flow.podSecurity" .root }}
{{ include "clip-image-flow.placement" $at | trim }}
{{- include "clip-image-flow.nodeSelector" (dict "root" .root "own" $values.nodeSelector) }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: {{ .root.Values.shutdown.gracePeriodSeconds }}
{{- with $values.initContainers }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: gateway
    image: {{ include "clip-image-flow.image" (dict "root" .root "image" .node.image "override" $values.image) }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: [jina]
    args:
      {{- toYaml .node.args | replace "$" "$$" | nindent 6 }}
      {{- with include "clip-image-flow.monitoringArgs" .root | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      - --uses-with
      - {{ include "clip-image-flow.json" $settings }}
      - --graph-description
      - {{ toJson .graph | include "clip-image-flow.json" }}
      - --deployments-addresses
      - {{ include "clip-image-flow.addresses" .root | include "clip-image-flow.json" }}
      - --grpc-server-options
      - {{ include "clip-image-flow.serverOptions" $at | include "clip-image-flow.json" }}
      - --grpc-channel-options
      - {{ include "clip-image-flow.channelOptions" $at | include "clip-image-flow.json" }}
    env: {{- include "clip-image-flow.env" (merge (dict "own" $env) $at) | nindent 6 }}
    ports:
      {{- include "clip-image-flow.ports" .node | trim | nindent 6 }}
      {{- with include "clip-image-flow.monitoringPort" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
    startupProbe:
      httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
      periodSeconds: 2
      timeoutSeconds: 5
      failureThreshold: 60
    # Ready once every executor has responded, and from then on: clients then get a 503 with a reason, which is better
    # than a refused connection.
    readinessProbe:
      httpGet: {path: /startupz, port: http, scheme: {{ $scheme }}}
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: 3
    livenessProbe:
      httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
      periodSeconds: 10
      timeoutSeconds: 10
      failureThreshold: 6
    {{- include "clip-image-flow.shutdown" .root | nindent 4 }}
    resources: {{- include "clip-image-flow.pruned" $values.resources | nindent 6 }}
    {{- with include "clip-image-flow.containerSecurity" .root | trim }}
    {{- nindent 4 . }}
    {{- end }}
    volumeMounts:
      {{- include "clip-image-flow.writableMounts" .root | nindent 6 }}
      {{- if $values.auth.existingSecret }}
      - name: auth
        mountPath: /etc/clip-gateway/auth  # the directory: a file mounted by subPath is not updated with its Secret
        readOnly: true
      {{- end }}
      {{- if $values.tls.existingSecret }}
      - name: tls
        mountPath: /etc/clip-gateway/tls
        readOnly: true
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with $values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  {{- include "clip-image-flow.writableVolumes" .root | nindent 2 }}
  {{- with $values.auth.existingSecret }}
  - name: auth
    secret: {secretName: {{ . }}, defaultMode: {{ include "clip-image-flow.secretMode" $at.root }}}
  {{- end }}
  {{- with $values.tls.existingSecret }}
  - name: tls
    secret: {secretName: {{ . }}, defaultMode: {{ include "clip-image-flow.secretMode" $at.root }}}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
