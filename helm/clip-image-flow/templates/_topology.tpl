{{/* What runs (files/topologies/NAME.yaml, generated from a Flow), merged with how it runs (values). */}}

{{/* The topology of the Flow that the value `flow` names. */}}
{{- define "clip-image-flow.topology" -}}
  {{- $text := .Files.Get (printf "files/topologies/%s.yaml" .Values.flow) -}}
  {{- if not $text -}}
    {{- $names := list -}}
    {{- range $path, $_ := .Files.Glob "files/topologies/*.yaml" -}}
      {{- $names = base $path | trimSuffix ".yaml" | append $names -}}
    {{- end -}}
    {{- fail (printf "values: flow: the chart has no Flow %q: set one of: %s" .Values.flow (join ", " $names)) -}}
  {{- end -}}
  {{- $text | fromYaml | toJson -}}
{{- end }}

{{/*
The executors of the Flow as {items: [{name, component, node, values, usesWith, model, cuda}]}: `node` is from the
topology; `values` are executors.NAME merged over executorDefaults and, if the executor takes a model, over `model`;
`model` is the name of its model.
*/}}
{{- define "clip-image-flow.executors" -}}
  {{- $nodes := (include "clip-image-flow.topology" . | fromJson).executors -}}
  {{- $names := list -}}
  {{- range $nodes }}{{- $names = append $names .name }}{{- end -}}
  {{- range $name := keys .Values.executors | sortAlpha -}}
    {{- if not (has $name $names) -}}
      {{- $says := "values: executors.%s: the Flow has no executor of this name: use one of: %s" -}}
      {{- fail (printf $says $name (join ", " $names)) -}}
    {{- end -}}
  {{- end -}}
  {{- include "clip-image-flow.checkModel" (dict "root" $ "nodes" $nodes) -}}
  {{- $items := list -}}
  {{- range $node := $nodes -}}
    {{- $override := deepCopy (get $.Values.executors $node.name | default dict) -}}
    {{- range $key, $value := $override -}}
      {{- /* a null stands for the default; for `device`, for the Flow's value */ -}}
      {{- if and (kindIs "invalid" $value) (ne $key "device") }}{{- $_ := unset $override $key }}{{- end -}}
    {{- end -}}
    {{- /* an executor that takes no model needs no weights, and no egress to download them */ -}}
    {{- $model := deepCopy $.Values.model -}}
    {{- if not $node.modelOption -}}
      {{- $model = mergeOverwrite $model (dict "source" "image" "claim" "" "oci" "") -}}
    {{- end -}}
    {{- $values := mergeOverwrite (deepCopy $.Values.executorDefaults) (dict "model" $model) (deepCopy $override) -}}
    {{- /* the node selector for GPUs is replaced, not merged; null removes it */ -}}
    {{- if hasKey ($override.gpu | default dict) "nodeSelector" -}}
      {{- $_ := set $values.gpu "nodeSelector" $override.gpu.nodeSelector -}}
    {{- end -}}
    {{- $settings := dict "device" $values.device -}}
    {{- with $node.modelOption }}{{- $_ := set $settings . $values.model.name }}{{ end -}}
    {{- $usesWith := include "clip-image-flow.usesWith" (list $node.usesWith $values.usesWith $settings) | fromJson -}}
    {{- $cuda := hasPrefix "cuda" ($usesWith.device | default "cpu") -}}
    {{- $model := get $usesWith ($node.modelOption | default "") -}}
    {{- $item := dict "name" $node.name "component" $node.component "node" $node "values" $values
      "usesWith" $usesWith "model" $model "cuda" $cuda -}}
    {{- include "clip-image-flow.checkExecutor" (dict "root" $ "item" $item "own" $override) -}}
    {{- $items = append $items $item -}}
  {{- end -}}
  {{- include "clip-image-flow.checkOneModel" (dict "root" $ "items" $items) -}}
  {{- dict "items" $items | toJson -}}
{{- end }}

{{/* Settings merged in order: later ones take precedence, nulls are ignored. */}}
{{- define "clip-image-flow.usesWith" -}}
  {{- $merged := dict -}}
  {{- range $layer := . -}}
    {{- range $key, $value := $layer -}}
      {{- if not (kindIs "invalid" $value) }}{{- $_ := set $merged $key $value }}{{- end -}}
    {{- end -}}
  {{- end -}}
  {{- toJson $merged -}}
{{- end }}

{{/* Executors by name and address, in the format of Jina's gateway: {NAME: ["grpc://..."]}. */}}
{{- define "clip-image-flow.addresses" -}}
  {{- $addresses := dict -}}
  {{- range (include "clip-image-flow.executors" . | fromJson).items -}}
    {{- $host := include "clip-image-flow.host" (dict "root" $ "component" .component) -}}
    {{- $_ := set $addresses .name (list (printf "grpc://%s:%v" $host (first .node.ports).port)) -}}
  {{- end -}}
  {{- toJson $addresses -}}
{{- end }}

{{/* Connections are renewed regularly: new pods get their share of requests, terminating pods lose theirs. */}}
{{- define "clip-image-flow.serverOptions" -}}
  {{- $age := dict "grpc.max_connection_age_ms" (mul 1000 .root.Values.connections.maxAgeSeconds)
    "grpc.max_connection_age_grace_ms" (mul 1000 .root.Values.connections.graceSeconds) -}}
  {{- merge $age .node.grpcServerOptions | toJson -}}
{{- end }}

{{/* Round robin over all addresses of a headless Service; if one is lost, DNS is queried again within a second. */}}
{{- define "clip-image-flow.channelOptions" -}}
  {{- $balanced := dict "grpc.lb_policy_name" "round_robin" "grpc.dns_min_time_between_resolutions_ms" 1000 -}}
  {{- merge $balanced .node.grpcChannelOptions | toJson -}}
{{- end }}

{{/* JSON as an argument in YAML: quoted, and escaped for the kubelet, which expands $(NAME) and replaces $$ by $. */}}
{{- define "clip-image-flow.json" -}}
  {{- . | replace "$" "$$" | replace "'" "''" | squote -}}
{{- end }}
