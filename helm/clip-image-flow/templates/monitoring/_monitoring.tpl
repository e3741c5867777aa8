{{/* What monitoring and tracing add to pods and NetworkPolicies; nothing while they are disabled. */}}

{{/* The metrics port of a node, from its Jina arguments in the topology. */}}
{{- define "clip-image-flow.metricsPort" -}}
  {{- $port := "9090" -}}
  {{- range $i, $argument := .args -}}
    {{- if eq (toString $argument) "--port-monitoring" }}{{- $port = index $.args (add1 $i) }}{{ end -}}
  {{- end -}}
  {{- $port -}}
{{- end }}

{{/* Arguments of Jina that enable metrics and traces. */}}
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

{{/* Environment variables for OpenTelemetry's sampler; the sampling decision of a caller takes precedence. */}}
{{- define "clip-image-flow.tracingEnv" -}}
  {{- $env := list -}}
  {{- if .Values.monitoring.tracing.enabled -}}
    {{- $env = list (dict "name" "OTEL_TRACES_SAMPLER" "value" "parentbased_traceidratio")
      (dict "name" "OTEL_TRACES_SAMPLER_ARG" "value" (toString .Values.monitoring.tracing.ratio)) -}}
  {{- end -}}
  {{- toJson $env -}}
{{- end }}

{{/* The container's metrics port, in addition to the ports of the Flow. */}}
{{- define "clip-image-flow.monitoringPort" -}}
{{- if .root.Values.monitoring.enabled }}
- name: metrics
  containerPort: {{ include "clip-image-flow.metricsPort" .node }}
{{- end }}
{{- end }}

{{/* Pod annotations with which Prometheus finds the metrics, as JSON; {} if `scrape` is another method. */}}
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

{{/* The NetworkPolicy ingress rule of the metrics port: allows the peers in `monitoring.from`, by default none. */}}
{{- define "clip-image-flow.metricsIngress" -}}
{{- if and .root.Values.monitoring.enabled .root.Values.monitoring.from }}
- from: {{- toYaml .root.Values.monitoring.from | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ include "clip-image-flow.metricsPort" .node }}}
{{- end }}
{{- end }}

{{/* The NetworkPolicy egress rule for the collector of traces. */}}
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

{{/* Label matchers that select the Prometheus series of this release. */}}
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

{{/* Checks of values that depend on each other. */}}
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
