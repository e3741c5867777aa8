{{/* Checks of each role's values that a JSON schema cannot express. `at` is their path, `values` are the values. */}}

{{/* `mounts` (paths) and `volumes` (names) are those that the chart itself adds. */}}
{{- define "clip-image-flow.checkRole" -}}
  {{- include "clip-image-flow.checkResources" . -}}
  {{- include "clip-image-flow.checkAutoscaling" . -}}
  {{- include "clip-image-flow.checkMounts" . -}}
  {{- include "clip-image-flow.checkRollout" . -}}
  {{- with .values -}}
    {{- include "clip-image-flow.checkKeys" (dict "at" (printf "%s.podLabels" $.at) "labels" .podLabels) -}}
    {{- include "clip-image-flow.checkKeys" (dict "at" (printf "%s.nodeSelector" $.at) "labels" .nodeSelector) -}}
    {{- range $key := list "annotations" "podAnnotations" -}}
      {{- include "clip-image-flow.checkKeys" (dict "at" (printf "%s.%s" $.at $key)
        "annotations" (get $.values $key)) -}}
    {{- end -}}
    {{- range $index, $each := .tolerations -}}
      {{- if and (eq ($each.operator | default "Equal") "Exists") $each.value -}}
        {{- $says := "operator Exists takes no value: remove value, or set operator to Equal" -}}
        {{- fail (printf "%s.tolerations[%d]: %s" $.at $index $says) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{- define "clip-image-flow.checkResources" -}}
  {{- $resources := include "clip-image-flow.pruned" .values.resources | fromYaml -}}
  {{- $limits := $resources.limits | default dict -}}
  {{- range $name, $request := $resources.requests -}}
    {{- if hasKey $limits $name -}}
      {{- $limit := get $limits $name -}}
      {{- $asked := include "clip-image-flow.number" $request | float64 -}}
      {{- if lt (include "clip-image-flow.number" $limit | float64) $asked -}}
        {{- $says := "is less than requests.%s (%v): raise the limit, or lower the request" -}}
        {{- fail (printf (print "%s.resources.limits.%s (%v) " $says) $.at $name $limit $name $request) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{- define "clip-image-flow.checkAutoscaling" -}}
  {{- with .values.autoscaling -}}
    {{- if gt (int .minReplicas) (int .maxReplicas) -}}
      {{- $says := "minReplicas (%d) is more than maxReplicas (%d): lower minReplicas, or raise maxReplicas" -}}
      {{- fail (printf (print "%s.autoscaling: " $says) $.at
        (int .minReplicas) (int .maxReplicas)) -}}
    {{- end -}}
    {{- $resources := include "clip-image-flow.pruned" $.values.resources | fromYaml -}}
    {{- $cpu := or (dig "requests" "cpu" "" $resources) (dig "limits" "cpu" "" $resources) -}}
    {{- if and .enabled (not .metrics) (not $cpu) -}}
      {{- $says := "enabled, and uses the CPU: set resources.requests.cpu, or autoscaling.metrics" -}}
      {{- fail (printf "%s.autoscaling: %s for other metrics" $.at $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{- define "clip-image-flow.checkMounts" -}}
  {{- $paths := .mounts -}}
  {{- range .values.extraVolumeMounts -}}
    {{- $path := trimSuffix "/" .mountPath -}}
    {{- if has $path $paths -}}
      {{- fail (printf "%s.extraVolumeMounts: two mounts at %s: give %q another mountPath" $.at $path .name) -}}
    {{- end -}}
    {{- $paths = append $paths $path -}}
  {{- end -}}
  {{- $names := .volumes -}}
  {{- range .values.extraVolumes -}}
    {{- if has .name $names -}}
      {{- fail (printf "%s.extraVolumes: two volumes are called %q: give yours another name" $.at .name) -}}
    {{- end -}}
    {{- $names = append $names .name -}}
  {{- end -}}
  {{- range .values.extraVolumeMounts -}}
    {{- if not (has .name $names) -}}
      {{- $says := "no volume has this name: add it to extraVolumes" -}}
      {{- fail (printf "%s.extraVolumeMounts: %q: %s" $.at .name $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{- define "clip-image-flow.checkRollout" -}}
  {{- with .values.pdb -}}
    {{- if and .enabled (has (toString .maxUnavailable) (list "0" "0%")) -}}
      {{- $says := "would block every node drain: set 1 or more, or pdb.enabled: false" -}}
      {{- fail (printf "%s.pdb.maxUnavailable: %v %s" $.at .maxUnavailable $says) -}}
    {{- end -}}
  {{- end -}}
  {{- with .values.strategy -}}
    {{- $rolling := .rollingUpdate | default dict -}}
    {{- if and (eq (.type | default "RollingUpdate") "Recreate") $rolling -}}
      {{- $says := "type is Recreate, so rollingUpdate has no effect: remove it, or set type to RollingUpdate" -}}
      {{- fail (printf "%s.strategy: %s" $.at $says) -}}
    {{- end -}}
    {{- $none := list "0" "0%" -}}
    {{- if and (has (toString $rolling.maxSurge) $none) (has (toString $rolling.maxUnavailable) $none) -}}
      {{- $says := "maxSurge and maxUnavailable are both 0, so no pod could be replaced: set one of them to 1" -}}
      {{- fail (printf "%s.strategy: %s" $.at $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}
