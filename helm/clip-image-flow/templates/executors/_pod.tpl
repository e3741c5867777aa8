{{/*
The spec of an executor's pods. `item` is one of `clip-image-flow.executors`; `root`, `component`, `values` and `node`
are the same as in other templates.
*/}}
{{- define "clip-image-flow.executorPod" -}}
{{- $at := . }}
{{- $values := .values }}
{{- $model := .values.model }}
{{- $resources := include "clip-image-flow.pruned" $values.resources | fromYaml }}
{{- $limits := $resources.limits | default dict }}
{{- $own := get $limits "ephemeral-storage" | toString }}
{{- if and (include "clip-image-flow.caches" .item) $own }}
  {{- /* an emptyDir counts as ephemeral storage of the pod, which is evicted above its limit */}}
  {{- $cache := include "clip-image-flow.number" $model.cache.size | float64 }}
  {{- $storage := include "clip-image-flow.number" $own | float64 | addf $cache }}
  {{- $_ := set $limits "ephemeral-storage" (include "clip-image-flow.mebibytes" $storage) }}
{{- end }}
{{- $env := list (dict "name" "LOG_FORMAT" "value" .root.Values.gateway.logFormat) }}
{{- if ne $model.source "image" }}
  {{- $env = append $env (dict "name" "CLIP_CACHE" "value" "/models") }}
{{- end }}
{{- $env = include "clip-image-flow.tracingEnv" .root | fromJsonArray | concat $env }}
{{- $nodeSelector := $values.nodeSelector }}
{{- $tolerations := $values.tolerations }}
{{- if .item.cuda }}
  {{- $_ := set $limits $values.gpu.resourceName ($values.gpu.count | toString) }}
  {{- $_ := set $resources "limits" $limits }}
  {{- if not (kindIs "invalid" $values.gpu.nodeSelector) }}
    {{- $labels := $values.gpu.nodeSelector | default (dict "nvidia.com/gpu.present" "true") }}
    {{- $nodeSelector = merge (dict) $values.nodeSelector $labels }}
  {{- end }}
  {{- $tolerations = concat $values.tolerations $values.gpu.tolerations }}
{{- end }}
{{- include "clip-image-flow.podSecurity" .root }}
{{ include "clip-image-flow.placement" $at | trim }}
{{- include "clip-image-flow.nodeSelector" (dict "root" .root "own" $nodeSelector) }}
{{- with $tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and .item.cuda $values.gpu.runtimeClassName }}
runtimeClassName: {{ $values.gpu.runtimeClassName }}
{{- end }}
terminationGracePeriodSeconds: {{ .root.Values.shutdown.gracePeriodSeconds }}
{{- with $values.initContainers }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: executor
    image: {{ include "clip-image-flow.image" (dict "root" .root "image" .node.image "override" $values.image) }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: [jina]
    args:
      {{- toYaml .node.args | replace "$" "$$" | nindent 6 }}
      {{- with include "clip-image-flow.monitoringArgs" .root | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      - --uses-with
      - {{ toJson .item.usesWith | include "clip-image-flow.json" }}
      - --grpc-server-options
      - {{ include "clip-image-flow.serverOptions" $at | include "clip-image-flow.json" }}
      {{- with .node.grpcChannelOptions }}
      - --grpc-channel-options
      - {{ toJson . | include "clip-image-flow.json" }}
      {{- end }}
    env: {{- include "clip-image-flow.env" (merge (dict "own" $env) $at) | nindent 6 }}
    ports:
      {{- include "clip-image-flow.ports" .node | trim | nindent 6 }}
      {{- with include "clip-image-flow.monitoringPort" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
    {{- with first .node.ports }}
    # The port is closed until the model is loaded, downloads included.
    startupProbe:
      grpc: {port: {{ .port }}, service: jina.JinaSingleDataRequestRPC}
      periodSeconds: 2
      timeoutSeconds: 5
      failureThreshold: {{ div (add (int $values.startupSeconds) 1) 2 }}
    readinessProbe:
      grpc: {port: {{ .port }}, service: jina.JinaSingleDataRequestRPC}
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: 3
    livenessProbe:
      grpc: {port: {{ .port }}}
      periodSeconds: 10
      timeoutSeconds: 10
      failureThreshold: 6
    {{- end }}
    {{- include "clip-image-flow.shutdown" .root | nindent 4 }}
    resources: {{- toYaml $resources | nindent 6 }}
    {{- with include "clip-image-flow.containerSecurity" .root | trim }}
    {{- nindent 4 . }}
    {{- end }}
    volumeMounts:
      {{- include "clip-image-flow.writableMounts" .root | nindent 6 }}
      {{- if ne $model.source "image" }}
      - name: models
        mountPath: /models
        readOnly: {{ has $model.source (list "claim" "oci") }}
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with $values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  {{- include "clip-image-flow.writableVolumes" .root | nindent 2 }}
  {{- if eq $model.source "claim" }}
  - name: models
    persistentVolumeClaim: {claimName: {{ $model.claim }}, readOnly: true}
  {{- else if eq $model.source "oci" }}
  - name: models
    image: {reference: {{ $model.oci | quote }}, pullPolicy: IfNotPresent}
  {{- else if include "clip-image-flow.caches" .item }}
  - name: models
    emptyDir: {sizeLimit: {{ $model.cache.size }}}
  {{- else if eq $model.source "download" }}
  - name: models
    persistentVolumeClaim: {claimName: {{ include "clip-image-flow.modelCache" $at }}}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* `yes` if each pod of an executor downloads the weights into its own emptyDir. */}}
{{- define "clip-image-flow.caches" -}}
  {{- if and (eq .values.model.source "download") (not .values.model.cache.persistent) }}yes{{ end -}}
{{- end }}
