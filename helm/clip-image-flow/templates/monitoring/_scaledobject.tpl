{{/* Autoscaling by the number of waiting items, with KEDA. */}}

{{/*
The average number of items that waited in the queues of an executor's pods during a minute: by Little's law, their
rate times their waiting time. The sum over all pods divided by the target per pod is the number of pods.
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
  fallback:  # if Prometheus does not respond: keep the current number of pods
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
