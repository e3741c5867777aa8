{{/* Names, labels and image references. */}}

{{/*
The prefix of object names: RELEASE, or RELEASE-NAME with `nameOverride` or with the `alias` of a dependency in an
umbrella chart, so that two copies of the chart in one umbrella have different names. `fullnameOverride` replaces it.
*/}}
{{- define "clip-image-flow.fullname" -}}
  {{- $part := .Values.nameOverride | default (include "clip-image-flow.alias" .) -}}
  {{- $own := ternary (printf "%s-%s" .Release.Name $part) .Release.Name (ne $part "") -}}
  {{- .Values.fullnameOverride | default $own -}}
{{- end }}

{{/* The `alias` of the chart as a dependency in an umbrella chart; empty without one. */}}
{{- define "clip-image-flow.alias" -}}
  {{- ternary "" .Chart.Name (eq .Chart.Name "clip-image-flow") -}}
{{- end }}

{{/*
The name of a component's objects: RELEASE-COMPONENT, as a valid Service name: no dots, no leading digit, at most 63
characters.
*/}}
{{- define "clip-image-flow.name" -}}
  {{- $name := printf "%s-%s" (include "clip-image-flow.fullname" .root | replace "." "-") .component -}}
  {{- if regexMatch "^[0-9]" $name }}{{ $name = printf "clip-%s" $name }}{{ end -}}
  {{- if gt (len $name) 63 -}}
    {{- $name = printf "%s-%s" (trunc 54 $name | trimSuffix "-") (sha256sum $name | trunc 8) -}}
  {{- end -}}
  {{- $name -}}
{{- end }}

{{/* The name of the PersistentVolumeClaim in which an executor stores downloaded weights. */}}
{{- define "clip-image-flow.modelCache" -}}
  {{- include "clip-image-flow.name" (dict "root" .root "component" (printf "%s-models" .component)) -}}
{{- end }}

{{/* A component's DNS name in the cluster. With the trailing dot, resolvers skip their search list. */}}
{{- define "clip-image-flow.host" -}}
  {{- printf "%s.%s.svc.%s." (include "clip-image-flow.name" .) .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end }}

{{/*
The label `app.kubernetes.io/instance` of all objects: RELEASE, or RELEASE-ALIAS with an alias. Otherwise Services
would also select the pods of another copy of the chart in the same umbrella.
*/}}
{{- define "clip-image-flow.instance" -}}
  {{- $instance := list .Release.Name (include "clip-image-flow.alias" .) | compact | join "-" -}}
  {{- if gt (len $instance) 63 -}}
    {{- $instance = printf "%s-%s" (trunc 54 $instance) (sha256sum $instance | trunc 8) -}}
  {{- end -}}
  {{- $instance -}}
{{- end }}

{{/*
The selector labels of a component. Immutable: changing these labels makes an upgrade fail. toYaml adds the quotes
that a release called `123` needs.
*/}}
{{- define "clip-image-flow.selector" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default "clip-image-flow" | toYaml }}
app.kubernetes.io/instance: {{ include "clip-image-flow.instance" .root | toYaml }}
{{- with .component }}
app.kubernetes.io/component: {{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of pods. Without versions: an upgrade of the chart alone starts no rollout. `values` are a role's. */}}
{{- define "clip-image-flow.podLabels" -}}
  {{- $own := include "clip-image-flow.selector" . | fromYaml -}}
  {{- $labels := merge $own (dig "podLabels" dict (.values | default dict)) .root.Values.commonLabels -}}
  {{- toYaml $labels -}}
{{- end }}

{{/* The labels of objects. The chart's own take precedence over labels in the values. */}}
{{- define "clip-image-flow.labels" -}}
  {{- $own := dict "app.kubernetes.io/version" (toString .root.Chart.AppVersion)
    "app.kubernetes.io/managed-by" .root.Release.Service
    "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
  {{- $selector := include "clip-image-flow.selector" . | fromYaml -}}
  {{- merge $selector $own (.labels | default dict) .root.Values.commonLabels | toYaml -}}
{{- end }}

{{/* The name of the ServiceAccount. `default` exists in every namespace, and a release cannot own it. */}}
{{- define "clip-image-flow.serviceAccount" -}}
  {{- $name := include "clip-image-flow.fullname" . -}}
  {{- .Values.serviceAccount.name | default (ternary "default-clip-image-flow" $name (eq $name "default")) -}}
{{- end }}

{{/*
The image reference from the Flow (`image`), with the overrides of the values (`override`) and global.imageRegistry.
As in Docker, the first part of a reference is a registry if it contains a dot or a port, or is localhost.
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
