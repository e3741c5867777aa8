{{/* Checks of the executors' values that a JSON schema cannot express. */}}

{{/* Only executors that take a model can have one. */}}
{{- define "clip-image-flow.checkModel" -}}
  {{- $taking := list -}}
  {{- range .nodes }}{{ if .modelOption }}{{ $taking = append $taking .name }}{{ end }}{{ end -}}
  {{- range $name, $override := .root.Values.executors -}}
    {{- if and ($override | default dict).model (not (has $name $taking)) -}}
      {{- $says := "this executor takes no model: remove it (executors with a model: %s)" -}}
      {{- fail (printf (print "values: executors.%s.model: " $says) $name (join ", " $taking)) -}}
    {{- end -}}
  {{- end -}}
  {{- with .root.Values.model -}}
    {{- if and (or .name .claim (ne .source "image")) (not $taking) -}}
      {{- fail (printf "values: model: no executor of the Flow %s takes a model: remove it" $.root.Values.flow) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{/* Vectors of different checkpoints cannot be compared, and the gateway of such a Flow never becomes ready. */}}
{{- define "clip-image-flow.checkOneModel" -}}
  {{- $models := list -}}
  {{- $named := list -}}
  {{- range .items -}}
    {{- if .model -}}
      {{- $models = append $models .model -}}
      {{- $named = printf "%s has %v" .name .model | append $named -}}
    {{- end -}}
  {{- end -}}
  {{- if gt (uniq $models | len) 1 -}}
    {{- $says := "the executors of the Flow %s must have the same model, but %s: set model.name for all of them" -}}
    {{- fail (printf (print "values: model: " $says) .root.Values.flow (join ", " $named)) -}}
  {{- end -}}
{{- end }}

{{/* `own` are the values of executors.NAME, `item` is one of `clip-image-flow.executors`. */}}
{{- define "clip-image-flow.checkExecutor" -}}
  {{- $at := printf "values: executors.%s" .item.name -}}
  {{- $model := ternary (printf "%s.model" $at) "values: model" (hasKey .own "model") -}}
  {{- $mounts := list "/home/app" "/tmp" -}}
  {{- $volumes := list "home" "tmp" -}}
  {{- with .item.values.model -}}
    {{- if and (eq .source "claim") (not .claim) -}}
      {{- fail (printf "%s: source is claim, so claim must name a PersistentVolumeClaim" $model) -}}
    {{- end -}}
    {{- if and .claim (ne .source "claim") -}}
      {{- fail (printf "%s: claim is set, so source must be claim" $model) -}}
    {{- end -}}
    {{- if and (eq .source "oci") (not .oci) -}}
      {{- fail (printf "%s: source is oci, so oci must name an image by its digest" $model) -}}
    {{- end -}}
    {{- if and .oci (ne .source "oci") -}}
      {{- fail (printf "%s: oci is set, so source must be oci" $model) -}}
    {{- end -}}
    {{- if and (eq .source "oci") (semverCompare "<1.35-0" $.root.Capabilities.KubeVersion.Version) -}}
      {{- $says := "%s: source is oci, an image as a volume, which needs Kubernetes 1.35 or newer; this is %s" -}}
      {{- fail (printf (print $says ". Put the weights on a claim, or bake them into the executor's image") $model
        $.root.Capabilities.KubeVersion.Version) -}}
    {{- end -}}
    {{- if and .cache.persistent (ne .source "download") $.item.node.modelOption -}}
      {{- $says := "persistent needs downloaded weights: set source to download, or persistent to false" -}}
      {{- fail (printf "%s.cache: %s" $model $says) -}}
    {{- end -}}
    {{- if and (eq .source "download") .cache.persistent (not .cache.accessModes) -}}
      {{- fail (printf "%s.cache.accessModes: must not be empty: set ReadWriteMany, or another access mode" $model) -}}
    {{- end -}}
    {{- if and (eq .source "download") (eq (include "clip-image-flow.number" .cache.size | float64) 0.0) -}}
      {{- fail (printf "%s.cache.size: 0 is too small for a model: set several gigabytes" $model) -}}
    {{- end -}}
    {{- if ne .source "image" -}}
      {{- $mounts = append $mounts "/models" -}}
      {{- $volumes = append $volumes "models" -}}
    {{- end -}}
  {{- end -}}
  {{- include "clip-image-flow.checkRole" (dict "at" $at "values" .item.values "mounts" $mounts "volumes" $volumes) -}}
  {{- include "clip-image-flow.checkExecutorMemory" (dict "at" $at "item" .item) -}}
  {{- if .item.cuda }}{{- include "clip-image-flow.checkDevice" (dict "at" $at "item" .item) }}{{ end -}}
{{- end }}

{{/* What `device: cuda` needs in other values: enough GPUs, an image with CUDA, another metric for autoscaling. */}}
{{- define "clip-image-flow.checkDevice" -}}
  {{- $device := .item.usesWith.device -}}
  {{- with .item.values -}}
    {{- $index := trimPrefix "cuda" $device | trimPrefix ":" | default "0" | int -}}
    {{- if ge $index (int .gpu.count) -}}
      {{- $says := "is not available: numbers start at 0, and gpu.count is %d: lower the number, or raise gpu.count" -}}
      {{- fail (printf (print "%s: device %s " $says) $.at $device (int .gpu.count)) -}}
    {{- end -}}
    {{- $own := or .image.repository .image.tag .image.digest -}}
    {{- if and .device (not $own) (not (regexMatch "gpu|cuda|@sha256:" $.item.node.image)) -}}
      {{- $says := "but the image %s is built for CPUs: set image.tag to one that `make image-gpu` builds (%s-gpu)" -}}
      {{- $tag := regexFind "[^:/]+$" $.item.node.image -}}
      {{- fail (printf (print "%s: device is %s, " $says) $.at $device $.item.node.image $tag) -}}
    {{- end -}}
    {{- if and .autoscaling.enabled (eq .autoscaling.by "cpu") (not .autoscaling.metrics) -}}
      {{- $says := "uses the CPU, which does not show the load of a GPU: set autoscaling.by or autoscaling.metrics" -}}
      {{- fail (printf "%s: device is %s, but autoscaling %s, or autoscaling.enabled: false" $.at $device $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{/* Half of the memory limit is for the model, the rest for decoding (default: a quarter) and queue (an eighth). */}}
{{- define "clip-image-flow.checkExecutorMemory" -}}
  {{- $resources := include "clip-image-flow.pruned" .item.values.resources | fromYaml -}}
  {{- $settings := .item.usesWith -}}
  {{- if and .item.node.modelOption (dig "limits" "memory" "" $resources) -}}
    {{- $limit := include "clip-image-flow.number" $resources.limits.memory | float64 -}}
    {{- $decode := $settings.decode_memory | default (divf $limit 4) | float64 -}}
    {{- $queue := $settings.queue_bytes | default (divf $limit 8) | float64 -}}
    {{- if gt (addf $decode $queue) (divf $limit 2) -}}
      {{- $says := "(%.0f) and queue_bytes (%.0f) are more than half of resources.limits.memory (%v)" -}}
      {{- $fix := "and the model needs the other half: lower them, or raise the limit" -}}
      {{- fail (printf (printf "%%s.usesWith: decode_memory %s, %s" $says $fix) .at
        $decode $queue $resources.limits.memory) -}}
    {{- end -}}
    {{- $image := $settings.max_image_bytes | default 20971520 | float64 -}}
    {{- if gt $image $queue -}}
      {{- $says := "(%.0f) is more than queue_bytes (%.0f), by default an eighth of resources.limits.memory" -}}
      {{- $fix := "so such an image is never accepted: lower max_image_bytes, or raise queue_bytes or the limit" -}}
      {{- fail (printf (printf "%%s.usesWith: max_image_bytes %s, %s" $says $fix) .at $image $queue) -}}
    {{- end -}}
  {{- end -}}
{{- end }}
