{{/* The values as templates read them, also if they are the values of an older chart. */}}

{{/*
Sets missing keys to their defaults: `helm upgrade --reuse-values` uses the values.yaml of the older chart, which lacks
newer keys. files/defaults.yaml is values.yaml by path. Every template calls this first.
*/}}
{{- define "clip-image-flow.init" -}}
  {{- $values := .Values -}}
  {{- with ($values.executorDefaults | default dict).model -}}
    {{- /* the first charts had `model` under executorDefaults; values at the current path take precedence */ -}}
    {{- $model := $values.model | default dict -}}
    {{- if not (or $model.name $model.claim (ne ($model.source | default "image") "image")) -}}
      {{- $_ := set $values "model" . -}}
    {{- end -}}
  {{- end -}}
  {{- range $path, $default := .Files.Get "files/defaults.yaml" | fromYaml -}}
    {{- $keys := splitList "." $path -}}
    {{- $at := $values -}}
    {{- range initial $keys -}}
      {{- if not (kindIs "map" (get $at .)) }}{{- $_ := set $at . dict }}{{ end -}}
      {{- $at = get $at . -}}
    {{- end -}}
    {{- if not (hasKey $at (last $keys)) }}{{- $_ := set $at (last $keys) (deepCopy $default) }}{{ end -}}
  {{- end -}}
{{- end }}

{{/* A map without its nulls: a null in the values removes a default. */}}
{{- define "clip-image-flow.pruned" -}}
  {{- $pruned := dict -}}
  {{- range $key, $value := . -}}
    {{- if kindIs "map" $value -}}
      {{- $_ := set $pruned $key (include "clip-image-flow.pruned" $value | fromYaml) -}}
    {{- else if not (kindIs "invalid" $value) -}}
      {{- $_ := set $pruned $key $value -}}
    {{- end -}}
  {{- end -}}
  {{- toYaml $pruned -}}
{{- end }}

{{/* A quantity (`250m`, `1.5Gi`, 3) as a number of cores or bytes. */}}
{{- define "clip-image-flow.number" -}}
  {{- $factors := dict "m" 0.001 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000
    "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
  {{- $text := toString . -}}
  {{- $unit := regexFind "[A-Za-z]+$" $text -}}
  {{- printf "%.4f" (mulf (trimSuffix $unit $text | float64) (get $factors $unit | default 1)) -}}
{{- end }}

{{/* Bytes (a number) in MiB, rounded up: `416Mi`. */}}
{{- define "clip-image-flow.mebibytes" -}}
  {{- printf "%.0fMi" (divf . 1048576 | ceil) -}}
{{- end }}
