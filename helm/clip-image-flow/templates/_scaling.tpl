{{/* PodDisruptionBudget and HorizontalPodAutoscaler, the same for every role. */}}

{{- define "clip-image-flow.pdb" -}}
{{- if .values.pdb.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "clip-image-flow.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "clip-image-flow.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow  # a pod that is not ready does not block a drain
  selector:
    matchLabels: {{- include "clip-image-flow.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "clip-image-flow.hpa" -}}
{{- if .values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "clip-image-flow.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "clip-image-flow.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "clip-image-flow.name" . }}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    {{- if .values.autoscaling.metrics }}
    {{- toYaml .values.autoscaling.metrics | nindent 4 }}
    {{- else }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ include "clip-image-flow.cpuTarget" .values }}
    {{- if eq (.values.autoscaling.by | default "cpu") "waiting" }}
    # The metric that asks for more pods decides. Needs a metrics adapter that provides clip_queue_items of pods.
    - type: Pods
      pods:
        metric: {name: clip_queue_items}
        target:
          type: AverageValue
          averageValue: {{ .values.autoscaling.targetWaitingItems | quote }}
    {{- end }}
    {{- end }}
  {{- with .values.autoscaling.behavior }}
  behavior: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/*
The target CPU usage in percent of the CPU request, as Kubernetes expects it; the value is in percent of the limit. A
pod that requests a tenth of a core uses more than 70 % of that for one call, which would scale to the maximum at once.
*/}}
{{- define "clip-image-flow.cpuTarget" -}}
  {{- $percent := .autoscaling.targetCPUUtilizationPercentage | float64 -}}
  {{- $resources := include "clip-image-flow.pruned" .resources | fromYaml -}}
  {{- $request := dig "requests" "cpu" "" $resources -}}
  {{- $limit := dig "limits" "cpu" "" $resources -}}
  {{- if and $request $limit -}}
    {{- $asked := include "clip-image-flow.number" $request | float64 -}}
    {{- $percent = divf (mulf $percent (include "clip-image-flow.number" $limit | float64)) $asked -}}
  {{- end -}}
  {{- printf "%.0f" $percent -}}
{{- end }}
