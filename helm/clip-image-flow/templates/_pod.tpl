{{/* What every pod has, whatever its role. */}}

{{/* `yes` on OpenShift, which gives each namespace users and groups of its own: by its API, or by the values. */}}
{{- define "clip-image-flow.openshift" -}}
  {{- $found := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
  {{- if ternary $found .Values.openshift (kindIs "invalid" .Values.openshift) }}yes{{ end -}}
{{- end }}

{{/* The security context of pods. On OpenShift the user and groups of the images are left out, others stay. */}}
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

{{/* The Pod Security Standard `restricted`, and more: a read-only root, no token, no Service variables. */}}
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

{{/* Who reads mounted Secrets: the group that Kubernetes or OpenShift gives the files; without one, every user. */}}
{{- define "clip-image-flow.secretMode" -}}
  {{- $context := include "clip-image-flow.podSecurityContext" . | fromYaml -}}
  {{- ternary "0440" "0444" (or (hasKey $context "fsGroup") (ne (include "clip-image-flow.openshift" .) "")) -}}
{{- end }}

{{/* Where pods go: apart from each other when there is room; `values` are a role's. */}}
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

{{/* `nodeSelector`: the one of every pod, with `own` over it. */}}
{{- define "clip-image-flow.nodeSelector" -}}
{{- with merge (dict) .own .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Annotations of pods. Their emptyDirs hold nothing that another pod could not make anew: without saying so, no autoscaler
of nodes would ever take a node away from under them.
*/}}
{{- define "clip-image-flow.podAnnotations" -}}
  {{- $volumes := list "home" "tmp" -}}
  {{- if .caches }}{{- $volumes = append $volumes "models" }}{{ end -}}
  {{- $own := dict "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" (join "," $volumes) -}}
  {{- $scraped := include "clip-image-flow.scrapeAnnotations" . | fromJson -}}
  {{- merge (dict) .values.podAnnotations $own $scraped | toYaml -}}
{{- end }}

{{/* The pause in which connections leave, before the process is told to end. */}}
{{- define "clip-image-flow.shutdown" -}}
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.shutdown.preStopSeconds }}}
# Why a container could not start stands in its pod's status: the end of its log, a model's error in one line.
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* Jina writes caches and lock files to HOME; the root is read-only. */}}
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
The environment: the chart's (`own`), the Flow's, the values'; of several by one name the last, as only one may be
there.
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

{{/* A pod's spec (`spec`, a text) with a role's `extraPodSpec` over it. */}}
{{- define "clip-image-flow.withExtra" -}}
  {{- if .values.extraPodSpec -}}
    {{- mergeOverwrite (fromYaml .spec) .values.extraPodSpec | toYaml -}}
  {{- else -}}
    {{- .spec -}}
  {{- end -}}
{{- end }}
