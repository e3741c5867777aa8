{{/* What monitoring and tracing add to pods and policies; nothing while they are off. */}}

{{/* The port of a node's metrics, which the Flow's export names. */}}
{{- define "clip-image-flow.metricsPort" -}}
  {{- $port := "9090" -}}
  {{- range $i, $argument := .args -}}
    {{- if eq (toString $argument) "--port-monitoring" }}{{- $port = index $.args (add1 $i) }}{{ end -}}
  {{- end -}}
  {{- $port -}}
{{- end }}

{{/* Arguments of Jina. */}}
{{- define "clip-image-flow.monitoringArgs" -}}
{{- if .Values.monitoring.enabled }}
- --monitoring
{{- end }}
{{- with .Values.monitoring.tracing }}
{{- if .enabled }}
- --tracing
- --traces-exporter-host
- {{ .host | quote }}
- --traces-exporter-port
- {{ .port | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The sampler, which OpenTelemetry reads from the environment; a caller's own decision goes before it. */}}
{{- define "clip-image-flow.tracingEnv" -}}
  {{- $env := list -}}
  {{- if .Values.monitoring.tracing.enabled -}}
    {{- $env = list (dict "name" "OTEL_TRACES_SAMPLER" "value" "parentbased_traceidratio")
      (dict "name" "OTEL_TRACES_SAMPLER_ARG" "value" (toString .Values.monitoring.tracing.ratio)) -}}
  {{- end -}}
  {{- toJson $env -}}
{{- end }}

{{/* The container's port of metrics, beside those of the Flow. */}}
{{- define "clip-image-flow.monitoringPort" -}}
{{- if .root.Values.monitoring.enabled }}
- name: metrics
  containerPort: {{ include "clip-image-flow.metricsPort" .node }}
{{- end }}
{{- end }}

{{/* How a Prometheus that goes by annotations finds a pod's metrics, as JSON; {} where it does not. */}}
{{- define "clip-image-flow.scrapeAnnotations" -}}
  {{- $annotations := dict -}}
  {{- with .root.Values.monitoring -}}
    {{- if and .enabled (eq .scrape "annotations") -}}
      {{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/path" "/metrics"
        "prometheus.io/port" (include "clip-image-flow.metricsPort" $.node) -}}
    {{- end -}}
  {{- end -}}
  {{- toJson $annotations -}}
{{- end }}

{{/* Whom a pod's policy lets in to metrics: those that are named, and nobody otherwise. */}}
{{- define "clip-image-flow.metricsIngress" -}}
{{- if and .root.Values.monitoring.enabled .root.Values.monitoring.from }}
- from: {{- toYaml .root.Values.monitoring.from | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ include "clip-image-flow.metricsPort" .node }}}
{{- end }}
{{- end }}

{{/* The way out to the collector of traces. */}}
{{- define "clip-image-flow.tracingEgress" -}}
{{- with .Values.monitoring.tracing }}
{{- if .enabled }}
- ports:
    - {protocol: TCP, port: {{ .port }}}
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What this release's series have in common. */}}
{{- define "clip-image-flow.series" -}}
  {{- printf "namespace=%q,app_kubernetes_io_instance=%q" .Release.Namespace (include "clip-image-flow.instance" .) -}}
{{- end }}

{{/* The names of the release's pods, as a regular expression. */}}
{{- define "clip-image-flow.podNames" -}}
  {{- $names := list (include "clip-image-flow.name" (dict "root" $ "component" "gateway") | printf "%s-.*") -}}
  {{- range (include "clip-image-flow.executors" . | fromJson).items -}}
    {{- $name := include "clip-image-flow.name" (dict "root" $ "component" .component) -}}
    {{- $names = printf "%s-.*" $name | append $names -}}
  {{- end -}}
  {{- join "|" $names -}}
{{- end }}

{{/* Two values that must fit each other. */}}
{{- define "clip-image-flow.checkMonitoring" -}}
  {{- with .Values.monitoring -}}
    {{- if and (not .enabled) .rules.enabled -}}
      {{- fail "values: monitoring.rules: enabled, so monitoring.enabled must be true: alerts need its metrics" -}}
    {{- end -}}
    {{- if and .tracing.enabled (not .tracing.host) -}}
      {{- fail "values: monitoring.tracing: enabled, so host must name a collector (OTLP over gRPC)" -}}
    {{- end -}}
  {{- end -}}
  {{- range (include "clip-image-flow.executors" . | fromJson).items -}}
    {{- $scaling := .values.autoscaling -}}
    {{- if and $scaling.enabled (ne $scaling.by "cpu") (not $.Values.monitoring.enabled) -}}
      {{- $says := "values: executors.%s.autoscaling: by is %s, so monitoring.enabled must be true" -}}
      {{- fail (printf $says .name $scaling.by) -}}
    {{- end -}}
    {{- if and $scaling.enabled (eq $scaling.by "keda") (not $.Values.monitoring.prometheus) -}}
      {{- $says := "values: executors.%s.autoscaling: by is keda, so monitoring.prometheus must be its address" -}}
      {{- fail (printf $says .name) -}}
    {{- end -}}
  {{- end -}}
{{- end }}
