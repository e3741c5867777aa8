{{/* Names, labels and image references. */}}

{{/*
What every object's name begins with: the release's name; in an umbrella that calls the chart otherwise (`alias`) that
name as well, so that two of them have names of their own.
*/}}
{{- define "clip-image-flow.fullname" -}}
  {{- $part := .Values.nameOverride | default (include "clip-image-flow.alias" .) -}}
  {{- $own := ternary (printf "%s-%s" .Release.Name $part) .Release.Name (ne $part "") -}}
  {{- .Values.fullnameOverride | default $own -}}
{{- end }}

{{/* What an umbrella calls the chart; empty where it is called by its own name. */}}
{{- define "clip-image-flow.alias" -}}
  {{- ternary "" .Chart.Name (eq .Chart.Name "clip-image-flow") -}}
{{- end }}

{{/*
The name of a component's objects: RELEASE-COMPONENT, as a Service may be called: no dots, no digit first, 63 letters.
*/}}
{{- define "clip-image-flow.name" -}}
  {{- $name := printf "%s-%s" (include "clip-image-flow.fullname" .root | replace "." "-") .component -}}
  {{- if regexMatch "^[0-9]" $name }}{{ $name = printf "clip-%s" $name }}{{ end -}}
  {{- if gt (len $name) 63 -}}
    {{- $name = printf "%s-%s" (trunc 54 $name | trimSuffix "-") (sha256sum $name | trunc 8) -}}
  {{- end -}}
  {{- $name -}}
{{- end }}

{{/* The name of the claim in which an executor keeps the weights that it downloaded. */}}
{{- define "clip-image-flow.modelCache" -}}
  {{- include "clip-image-flow.name" (dict "root" .root "component" (printf "%s-models" .component)) -}}
{{- end }}

{{/* A component's address within the cluster. The final dot spares the resolver its search list. */}}
{{- define "clip-image-flow.host" -}}
  {{- printf "%s.%s.svc.%s." (include "clip-image-flow.name" .) .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end }}

{{/*
The label `instance` of everything: the release's name; under an alias RELEASE-ALIAS, whose Services must not pick
another one's pods in the umbrella.
*/}}
{{- define "clip-image-flow.instance" -}}
  {{- $instance := list .Release.Name (include "clip-image-flow.alias" .) | compact | join "-" -}}
  {{- if gt (len $instance) 63 -}}
    {{- $instance = printf "%s-%s" (trunc 54 $instance) (sha256sum $instance | trunc 8) -}}
  {{- end -}}
  {{- $instance -}}
{{- end }}

{{/*
What picks a component's pods: never to change, or an upgrade fails. Written by toYaml, for a release may be called
`123`.
*/}}
{{- define "clip-image-flow.selector" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default "clip-image-flow" | toYaml }}
app.kubernetes.io/instance: {{ include "clip-image-flow.instance" .root | toYaml }}
{{- with .component }}
app.kubernetes.io/component: {{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of pods: without versions, so that a new chart alone rolls nothing. `values` are a role's. */}}
{{- define "clip-image-flow.podLabels" -}}
  {{- $own := include "clip-image-flow.selector" . | fromYaml -}}
  {{- $labels := merge $own (dig "podLabels" dict (.values | default dict)) .root.Values.commonLabels -}}
  {{- toYaml $labels -}}
{{- end }}

{{/* The labels of objects, the chart's own before the values'. */}}
{{- define "clip-image-flow.labels" -}}
  {{- $own := dict "app.kubernetes.io/version" (toString .root.Chart.AppVersion)
    "app.kubernetes.io/managed-by" .root.Release.Service
    "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
  {{- $selector := include "clip-image-flow.selector" . | fromYaml -}}
  {{- merge $selector $own (.labels | default dict) .root.Values.commonLabels | toYaml -}}
{{- end }}

{{/* The ServiceAccount. `default` is the namespace's own, which no release may claim. */}}
{{- define "clip-image-flow.serviceAccount" -}}
  {{- $name := include "clip-image-flow.fullname" . -}}
  {{- .Values.serviceAccount.name | default (ternary "default-clip-image-flow" $name (eq $name "default")) -}}
{{- end }}

{{/*
The image of the Flow (`image`), with what the values (`override`) and global.imageRegistry put in its place.
A registry is the first part of a reference when it has a dot or a port, or is localhost: Docker's rule.
*/}}
{{- define "clip-image-flow.image" -}}
  {{- $digest := regexFind "@sha256:[0-9a-f]+$" .image -}}
  {{- $named := trimSuffix $digest .image -}}
  {{- $tag := regexFind ":[^:/]+$" $named -}}
  {{- $repository := .override.repository | default (trimSuffix $tag $named) -}}
  {{- with .root.Values.global.imageRegistry -}}
    {{- $path := regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "" -}}
    {{- $repository = printf "%s/%s" (trimSuffix "/" .) $path -}}
  {{- end -}}
  {{- if .override.digest -}}
    {{- printf "%s@%s" $repository .override.digest -}}
  {{- else if .override.tag -}}
    {{- printf "%s:%s" $repository .override.tag -}}
  {{- else -}}
    {{- printf "%s%s" $repository ($digest | default $tag) -}}
  {{- end -}}
{{- end }}
