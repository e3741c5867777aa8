{{/* Autoscaling on what waits, by KEDA. */}}

{{/*
The items that waited in the queues of an executor's pods, on average over a minute: by Little's law their rate times
their waiting time. It adds up over pods, so that divided by what may wait in one of them it is a number of pods.
*/}}
{{- define "clip-image-flow.waitingQuery" -}}
  {{- $series := printf "%s,app_kubernetes_io_component=%q" (include "clip-image-flow.series" .root) .component -}}
  {{- printf "sum(rate(clip_queue_wait_seconds_sum{%s}[1m]))" $series -}}
{{- end }}

{{- define "clip-image-flow.scaledObject" -}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ include "clip-image-flow.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "clip-image-flow.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ include "clip-image-flow.name" . }}
  pollingInterval: 15
  minReplicaCount: {{ .values.autoscaling.minReplicas }}
  maxReplicaCount: {{ .values.autoscaling.maxReplicas }}
  fallback:  # without an answer from Prometheus: as many as there are
    failureThreshold: 4
    replicas: {{ .values.autoscaling.minReplicas }}
    behavior: currentReplicasIfHigher
  {{- with .values.autoscaling.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- toYaml . | nindent 8 }}
  {{- end }}
  triggers:
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ .root.Values.monitoring.prometheus | quote }}
        query: {{ include "clip-image-flow.waitingQuery" . | squote }}
        threshold: {{ .values.autoscaling.targetWaitingItems | quote }}
{{- end }}
