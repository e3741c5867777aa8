{{/* Disruption budget and autoscaler, the same for every role. */}}

{{- define "clip.pdb" -}}
{{- if .values.pdb.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "clip.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "clip.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow  # a pod that never got ready holds up no drain
  selector:
    matchLabels: {{- include "clip.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "clip.hpa" -}}
{{- if .values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "clip.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "clip.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "clip.name" . }}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .values.autoscaling.targetCPUUtilizationPercentage }}
    {{- if eq (.values.autoscaling.by | default "cpu") "waiting" }}
    # The larger of both numbers of pods counts. A metrics adapter has to show clip_queue_items of pods.
    - type: Pods
      pods:
        metric: {name: clip_queue_items}
        target:
          type: AverageValue
          averageValue: {{ .values.autoscaling.targetWaitingItems | quote }}
    {{- end }}
  {{- with .values.autoscaling.behavior }}
  behavior: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
