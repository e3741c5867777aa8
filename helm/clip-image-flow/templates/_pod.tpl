{{/* Parts of the pod spec that all roles (gateway, executors) share. */}}

{{/* `yes` on OpenShift, which assigns users and groups to each namespace: detected by its API, or set by a value. */}}
{{- define "clip-image-flow.openshift" -}}
  {{- $found := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
  {{- if ternary $found .Values.openshift (kindIs "invalid" .Values.openshift) }}yes{{ end -}}
{{- end }}

{{/* The security context of pods. On OpenShift, the user and groups of the images are removed, others are kept. */}}
{{- define "clip-image-flow.podSecurityContext" -}}
  {{- $context := include "clip-image-flow.pruned" .Values.podSecurityContext | fromYaml -}}
  {{- if include "clip-image-flow.openshift" . -}}
    {{- range list "runAsUser" "runAsGroup" "fsGroup" -}}
      {{- if eq (get $context . | toString) "10001" }}{{- $context = omit $context . }}{{ end -}}
    {{- end -}}
    {{- if not $context.fsGroup }}{{- $context = omit $context "fsGroupChangePolicy" }}{{ end -}}
  {{- end -}}
  {{- toYaml $context -}}
{{- end }}

{{/* Stricter than the Pod Security Standard `restricted`: read-only root, no token, no Service variables. */}}
{{- define "clip-image-flow.podSecurity" -}}
serviceAccountName: {{ include "clip-image-flow.serviceAccount" . | toYaml }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "clip-image-flow.podSecurityContext" . | fromYaml }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "clip-image-flow.containerSecurity" -}}
{{- with include "clip-image-flow.pruned" .Values.containerSecurityContext | fromYaml }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* File mode of mounted Secrets: read by the group that Kubernetes or OpenShift sets, without one by every user. */}}
{{- define "clip-image-flow.secretMode" -}}
  {{- $context := include "clip-image-flow.podSecurityContext" . | fromYaml -}}
  {{- ternary "0440" "0444" (or (hasKey $context "fsGroup") (ne (include "clip-image-flow.openshift" .) "")) -}}
{{- end }}

{{/* Scheduling: pods of a component prefer different nodes and zones. `values` are those of a role. */}}
{{- define "clip-image-flow.placement" -}}
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
            matchLabels: {{- include "clip-image-flow.selector" . | nindent 14 }}
{{- end }}
{{- if kindIs "invalid" .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "clip-image-flow.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- else }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* `nodeSelector`: the value for all pods, overridden by `own`. */}}
{{- define "clip-image-flow.nodeSelector" -}}
{{- with merge (dict) .own .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Annotations of pods. The cluster autoscaler does not remove a node with pods that have emptyDir volumes, unless an
annotation lists them as safe to delete. New pods recreate everything in these volumes.
*/}}
{{- define "clip-image-flow.podAnnotations" -}}
  {{- $volumes := list "home" "tmp" -}}
  {{- if .caches }}{{- $volumes = append $volumes "models" }}{{ end -}}
  {{- $own := dict "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" (join "," $volumes) -}}
  {{- $scraped := include "clip-image-flow.scrapeAnnotations" . | fromJson -}}
  {{- merge (dict) .values.podAnnotations $own $scraped | toYaml -}}
{{- end }}

{{/* The preStop pause, in which connections move to other pods before the process gets its stop signal. */}}
{{- define "clip-image-flow.shutdown" -}}
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.shutdown.preStopSeconds }}}
# If a container fails, the pod's status contains the end of its log, for example the error of a model.
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* Jina writes caches and lock files to HOME; the root filesystem is read-only. */}}
{{- define "clip-image-flow.writableVolumes" -}}
- name: home
  emptyDir: {sizeLimit: 256Mi}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- end }}

{{- define "clip-image-flow.writableMounts" -}}
- name: home
  mountPath: /home/app
- name: tmp
  mountPath: /tmp
{{- end }}

{{/*
Environment variables of the chart (`own`), the Flow and the values, in this order. Names must be unique: of several
with the same name, the last one is used.
*/}}
{{- define "clip-image-flow.env" -}}
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

{{- define "clip-image-flow.ports" -}}
{{- range .ports }}
- name: {{ .name }}
  containerPort: {{ .port }}
{{- end }}
{{- end }}

{{/* A pod spec (`spec`, YAML text) with the `extraPodSpec` of a role merged over it. */}}
{{- define "clip-image-flow.withExtra" -}}
  {{- if .values.extraPodSpec -}}
    {{- mergeOverwrite (fromYaml .spec) .values.extraPodSpec | toYaml -}}
  {{- else -}}
    {{- .spec -}}
  {{- end -}}
{{- end }}
