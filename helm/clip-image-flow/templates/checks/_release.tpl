{{/* Checks of the whole release that a JSON schema cannot express, because they compare several values. */}}

{{- define "clip-image-flow.check" -}}
  {{- include "clip-image-flow.checkCluster" . -}}
  {{- if not .Values.enabled -}}
    {{- $says := "needs a `condition` of the dependency in an umbrella's Chart.yaml: add it, or set enabled to true" -}}
    {{- fail (printf "values: enabled: false %s" $says) -}}
  {{- end -}}
  {{- include "clip-image-flow.checkShutdown" . -}}
  {{- include "clip-image-flow.checkKeys" (dict "at" "values: commonLabels" "labels" .Values.commonLabels) -}}
  {{- include "clip-image-flow.checkKeys" (dict "at" "values: nodeSelector" "labels" .Values.nodeSelector) -}}
  {{- include "clip-image-flow.checkKeys" (dict "at" "values: serviceAccount.annotations"
    "annotations" .Values.serviceAccount.annotations) -}}
  {{- with .Values.serviceAccount -}}
    {{- if and .name .annotations -}}
      {{- $says := "are for the ServiceAccount that the chart creates, but name is %s: annotate it, or remove name" -}}
      {{- fail (printf (print "values: serviceAccount.annotations " $says) .name) -}}
    {{- end -}}
  {{- end -}}
  {{- with .Values.networkPolicy -}}
    {{- if and .gatewayFrom (not .enabled) -}}
      {{- $says := "restricts access, but networkPolicy.enabled is false, which allows all: enable it, or remove" -}}
      {{- fail (printf "values: networkPolicy.gatewayFrom %s gatewayFrom" $says) -}}
    {{- end -}}
  {{- end -}}
  {{- include "clip-image-flow.checkGateway" . -}}
{{- end }}

{{/* Pods use the native `sleep` hook of 1.30. Without a cluster, Helm may report version 1.20, which is ignored. */}}
{{- define "clip-image-flow.checkCluster" -}}
  {{- $version := .Capabilities.KubeVersion.Version -}}
  {{- $nowhere := not (.Capabilities.APIVersions.Has "apps/v1/Deployment") -}}
  {{- if and (semverCompare "<1.30.0-0" $version) (not (and $nowhere (eq $version "v1.20.0"))) -}}
    {{- $says := "the cluster runs Kubernetes %s, but the chart needs 1.30 or newer: upgrade the cluster" -}}
    {{- fail (printf $says $version) -}}
  {{- end -}}
{{- end }}

{{/* A terminating pod must lose its connections, which takes their maximum age, before it gets its stop signal. */}}
{{- define "clip-image-flow.checkShutdown" -}}
  {{- with .Values.shutdown -}}
    {{- if le (int .preStopSeconds) (int $.Values.connections.maxAgeSeconds) -}}
      {{- fail (printf "values: shutdown.preStopSeconds (%d) must be more than connections.maxAgeSeconds (%d)"
        (int .preStopSeconds) (int $.Values.connections.maxAgeSeconds)) -}}
    {{- end -}}
    {{- if le (int .gracePeriodSeconds) (int .preStopSeconds) -}}
      {{- $says := "gracePeriodSeconds (%d) must be more than shutdown.preStopSeconds (%d), which it includes" -}}
      {{- fail (printf (print "values: shutdown." $says) (int .gracePeriodSeconds) (int .preStopSeconds)) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{/* Keys of labels and annotations, and values of labels, that Kubernetes accepts. `at` is their path. */}}
{{- define "clip-image-flow.checkKeys" -}}
  {{- $name := "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?" -}}
  {{- $key := printf "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?%s$" $name -}}
  {{- range $each, $_ := merge (dict) (.labels | default dict) (.annotations | default dict) -}}
    {{- if not (regexMatch $key $each) -}}
      {{- $says := "is not a valid key: use letters, digits, `-`, `_`, `.`, at most 63, optionally after `DOMAIN/`" -}}
      {{- fail (printf "%s: %q %s" $.at $each $says) -}}
    {{- end -}}
  {{- end -}}
  {{- range $each, $value := .labels -}}
    {{- if not (regexMatch (printf "^(%s)?$" $name) (toString $value)) -}}
      {{- $says := "is not a valid label value: use letters, digits, `-`, `_` and `.`, at most 63" -}}
      {{- fail (printf "%s.%s: %q %s" $.at $each (toString $value) $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}
