{{/* The values as templates read them, whatever chart they were given to. */}}

{{/*
Gives keys that are missing their defaults: `helm upgrade --reuse-values` brings the values.yaml of an older chart,
which lacks what came later. files/defaults.yaml is values.yaml by path. Every template begins with it.
*/}}
{{- define "clip-image-flow.init" -}}
  {{- $values := .Values -}}
  {{- with ($values.executorDefaults | default dict).model -}}
    {{- /* the first charts had the model there; what is said of it at its place of today goes before */ -}}
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

{{/* A map without its nulls: how values take away what a default has. */}}
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

{{/* A quantity (`250m`, `1.5Gi`, 3) as a number: of cores, of bytes. */}}
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
