{{/* What every pod has, whatever its role. */}}

{{/* The Pod Security Standard `restricted`, and more: a read-only root, no token, no Service variables. */}}
{{- define "clip.podSecurity" -}}
serviceAccountName: {{ include "clip.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "clip.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods go: apart from each other when there is room; `values` are a role's. */}}
{{- define "clip.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
affinity:
{{- if .values.affinity }}
{{- toYaml .values.affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "clip.selector" . | nindent 14 }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "clip.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/* The pause in which connections leave, before the process is told to end. */}}
{{- define "clip.shutdown" -}}
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.shutdown.preStopSeconds }}}
# Why a container could not start stands in its pod's status: the end of its log, a model's error in one line.
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* Jina writes caches and lock files to HOME; the root is read-only. */}}
{{- define "clip.writableVolumes" -}}
- name: home
  emptyDir: {sizeLimit: 256Mi}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- end }}

{{- define "clip.writableMounts" -}}
- name: home
  mountPath: /home/app
- name: tmp
  mountPath: /tmp
{{- end }}

{{/*
The environment: the chart's (`own`), the Flow's, the values'; of several by one name the last, as only one may be
there.
*/}}
{{- define "clip.env" -}}
  {{- $home := dict "name" "HOME" "value" "/home/app" -}}
  {{- $deployment := dict "name" "JINA_DEPLOYMENT_NAME" "value" .node.name -}}
  {{- $flow := toJson .node.env | replace "$" "$$" | fromJsonArray -}}
  {{- $names := list -}}
  {{- $entries := list -}}
  {{- range concat (list $home $deployment) .own $flow .values.extraEnv | reverse -}}
    {{- if not (has .name $names) -}}
      {{- $names = append $names .name -}}
      {{- $entries = prepend $entries . -}}
    {{- end -}}
  {{- end -}}
  {{- toYaml $entries -}}
{{- end }}

{{- define "clip.ports" -}}
{{- range .ports }}
- name: {{ .name }}
  containerPort: {{ .port }}
{{- end }}
{{- end }}

{{/* A map without its nulls: how values take away what a default has. */}}
{{- define "clip.pruned" -}}
  {{- $pruned := dict -}}
  {{- range $key, $value := . -}}
    {{- if kindIs "map" $value -}}
      {{- $_ := set $pruned $key (include "clip.pruned" $value | fromYaml) -}}
    {{- else if not (kindIs "invalid" $value) -}}
      {{- $_ := set $pruned $key $value -}}
    {{- end -}}
  {{- end -}}
  {{- toYaml $pruned -}}
{{- end }}

{{/* A quantity of storage in MiB. */}}
{{- define "clip.mebibytes" -}}
  {{- $factors := dict "Ki" 0.0009765625 "Mi" 1 "Gi" 1024 "Ti" 1048576
    "k" 0.00095367 "M" 0.95367 "G" 953.67 "T" 953674 -}}
  {{- $unit := regexFind "[A-Za-z]+$" . -}}
  {{- mulf (trimSuffix $unit . | float64) (get $factors $unit | default 0.00000095367) | ceil -}}
{{- end }}
