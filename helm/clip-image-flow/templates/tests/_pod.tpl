{{/* The spec of the `helm test` pod, scheduled like the gateway. It expects the embeddings of `model`. */}}
{{- define "clip-image-flow.testPod" -}}
{{- $gateway := .root.Values.gateway }}
{{- $host := include "clip-image-flow.host" (dict "root" .root "component" "gateway") }}
{{- $ports := include "clip-image-flow.clientPorts" .root | fromJson }}
{{- $mode := include "clip-image-flow.secretMode" .root }}
{{- include "clip-image-flow.podSecurity" .root }}
restartPolicy: Never
activeDeadlineSeconds: {{ add 60 .root.Values.test.timeoutSeconds }}
{{- with $gateway.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $gateway.affinity.nodeAffinity }}
affinity:
  nodeAffinity: {{- toYaml . | nindent 4 }}
{{- end }}
{{- include "clip-image-flow.nodeSelector" (dict "root" .root "own" $gateway.nodeSelector) }}
{{- with $gateway.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: test
    image: {{ include "clip-image-flow.image" (dict "root" .root "image" .node.image "override" $gateway.image) }}
    imagePullPolicy: {{ $gateway.image.pullPolicy }}
    command: [python, /test/encode.py]
    env:
      - {name: HOME, value: /home/app}
      - {name: HTTP_ADDRESS, value: "{{ $host }}:{{ $ports.http }}"}
      - {name: GRPC_ADDRESS, value: "{{ $host }}:{{ $ports.grpc }}"}
      - {name: MODEL, value: {{ .model | quote }}}
      - {name: TIMEOUT_SECONDS, value: {{ .root.Values.test.timeoutSeconds | quote }}}
      {{- if $gateway.auth.existingSecret }}
      - {name: TOKENS_FILE, value: /etc/clip-gateway/auth/{{ $gateway.auth.key }}}
      {{- end }}
      {{- if $gateway.tls.existingSecret }}
      - {name: CERTIFICATE_FILE, value: /etc/clip-gateway/tls/tls.crt}
      {{- end }}
    resources:
      requests: {cpu: 50m, memory: 128Mi, ephemeral-storage: 64Mi}
      limits: {cpu: "1", memory: 512Mi, ephemeral-storage: 640Mi}
    {{- with include "clip-image-flow.containerSecurity" .root | trim }}
    {{- nindent 4 . }}
    {{- end }}
    volumeMounts:
      {{- include "clip-image-flow.writableMounts" .root | nindent 6 }}
      - {name: test, mountPath: /test, readOnly: true}
      {{- if $gateway.auth.existingSecret }}
      - {name: auth, mountPath: /etc/clip-gateway/auth, readOnly: true}
      {{- end }}
      {{- if $gateway.tls.existingSecret }}
      - {name: tls, mountPath: /etc/clip-gateway/tls, readOnly: true}
      {{- end }}
volumes:
  {{- include "clip-image-flow.writableVolumes" .root | nindent 2 }}
  - name: test
    configMap: {name: {{ include "clip-image-flow.name" . }}}
  {{- with $gateway.auth.existingSecret }}
  - name: auth
    secret: {secretName: {{ . }}, defaultMode: {{ $mode }}}
  {{- end }}
  {{- with $gateway.tls.existingSecret }}
  - name: tls
    secret: {secretName: {{ . }}, defaultMode: {{ $mode }}, items: [{key: tls.crt, path: tls.crt}]}  # not the key
  {{- end }}
{{- end }}
