{{/* Names, labels and image references. */}}

{{/*
The name of a component's objects: RELEASE-COMPONENT, as a Service may be called: no dots, no digit first, 63 letters.
*/}}
{{- define "clip.name" -}}
  {{- $name := printf "%s-%s" (.root.Release.Name | replace "." "-") .component -}}
  {{- if regexMatch "^[0-9]" $name }}{{ $name = printf "clip-%s" $name }}{{ end -}}
  {{- if gt (len $name) 63 -}}
    {{- $name = printf "%s-%s" (trunc 54 $name | trimSuffix "-") (sha256sum $name | trunc 8) -}}
  {{- end -}}
  {{- $name -}}
{{- end }}

{{/* The name of the claim in which an executor keeps the weights that it downloaded. */}}
{{- define "clip.modelCache" -}}
  {{- include "clip.name" (dict "root" .root "component" (printf "%s-models" .component)) -}}
{{- end }}

{{/* A component's address within the cluster. The final dot spares the resolver its search list. */}}
{{- define "clip.host" -}}
  {{- printf "%s.%s.svc.%s." (include "clip.name" .) .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end }}

{{/* What picks a component's pods: never to change, or an upgrade fails. */}}
{{- define "clip.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* The labels of pods: without versions, so that a new chart alone rolls nothing. */}}
{{- define "clip.podLabels" -}}
{{ merge (include "clip.selector" . | fromYaml) .root.Values.commonLabels | toYaml }}
{{- end }}

{{/* The labels of objects. */}}
{{- define "clip.labels" -}}
{{ include "clip.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "clip.serviceAccount" -}}
  {{- .Values.serviceAccount.name | default .Release.Name -}}
{{- end }}

{{/*
The image of the Flow (`image`), with what the values (`override`) and global.imageRegistry put in its place.
A registry is the first part of a reference when it has a dot or a port, or is localhost: Docker's rule.
*/}}
{{- define "clip.image" -}}
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
