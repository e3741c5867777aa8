{{/* Refusals of what a schema cannot say, for it takes two values to be wrong: of the whole release. */}}

{{- define "clip-image-flow.check" -}}
  {{- include "clip-image-flow.checkCluster" . -}}
  {{- if not .Values.enabled -}}
    {{- $says := "is what the `condition` of an umbrella's Chart.yaml reads, and none reads it here: leave it true" -}}
    {{- fail (printf "values: enabled: false %s" $says) -}}
  {{- end -}}
  {{- include "clip-image-flow.checkShutdown" . -}}
  {{- include "clip-image-flow.checkKeys" (dict "at" "values: commonLabels" "labels" .Values.commonLabels) -}}
  {{- include "clip-image-flow.checkKeys" (dict "at" "values: nodeSelector" "labels" .Values.nodeSelector) -}}
  {{- include "clip-image-flow.checkKeys" (dict "at" "values: serviceAccount.annotations"
    "annotations" .Values.serviceAccount.annotations) -}}
  {{- with .Values.serviceAccount -}}
    {{- if and .name .annotations -}}
      {{- $says := "are for the ServiceAccount that the chart makes, and name is %s: annotate that, or drop name" -}}
      {{- fail (printf (print "values: serviceAccount.annotations " $says) .name) -}}
    {{- end -}}
  {{- end -}}
  {{- with .Values.networkPolicy -}}
    {{- if and .gatewayFrom (not .enabled) -}}
      {{- $says := "says who may come in, but enabled is false, which lets everybody in: enable it, or drop" -}}
      {{- fail (printf "values: networkPolicy.gatewayFrom %s gatewayFrom" $says) -}}
    {{- end -}}
  {{- end -}}
  {{- include "clip-image-flow.checkGateway" . -}}
{{- end }}

{{/* Pods end by the native `sleep` hook. Without a cluster Helm may claim to be of 1.20, which says nothing. */}}
{{- define "clip-image-flow.checkCluster" -}}
  {{- $version := .Capabilities.KubeVersion.Version -}}
  {{- $nowhere := not (.Capabilities.APIVersions.Has "apps/v1/Deployment") -}}
  {{- if and (semverCompare "<1.30.0-0" $version) (not (and $nowhere (eq $version "v1.20.0"))) -}}
    {{- $says := "the cluster runs Kubernetes %s, and the chart needs 1.30 or newer: upgrade the cluster" -}}
    {{- fail (printf $says $version) -}}
  {{- end -}}
{{- end }}

{{/* A pod that ends must have lost its connections, which takes their age, before it is told to stop. */}}
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

{{/* Keys (and, of labels, values) such as Kubernetes takes. `at` says where they stand. */}}
{{- define "clip-image-flow.checkKeys" -}}
  {{- $name := "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?" -}}
  {{- $key := printf "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?%s$" $name -}}
  {{- range $each, $_ := merge (dict) (.labels | default dict) (.annotations | default dict) -}}
    {{- if not (regexMatch $key $each) -}}
      {{- $says := "is no key for Kubernetes: letters, digits, `-`, `_`, `.`, 63 at most, alone or after `DOMAIN/`" -}}
      {{- fail (printf "%s: %q %s" $.at $each $says) -}}
    {{- end -}}
  {{- end -}}
  {{- range $each, $value := .labels -}}
    {{- if not (regexMatch (printf "^(%s)?$" $name) (toString $value)) -}}
      {{- $says := "is no value for a label: letters, digits, `-`, `_` and `.`, 63 at most" -}}
      {{- fail (printf "%s.%s: %q %s" $.at $each (toString $value) $says) -}}
    {{- end -}}
  {{- end -}}
{{- end }}
