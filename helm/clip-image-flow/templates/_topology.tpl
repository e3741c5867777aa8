{{/* What runs (files/topologies/NAME.yaml, written from a Flow) with how it runs (values) over it. */}}

{{/* The topology of the Flow that the values name. */}}
{{- define "clip.topology" -}}
  {{- $text := .Files.Get (printf "files/topologies/%s.yaml" .Values.flow) -}}
  {{- if not $text -}}
    {{- $names := list -}}
    {{- range $path, $_ := .Files.Glob "files/topologies/*.yaml" -}}
      {{- $names = base $path | trimSuffix ".yaml" | append $names -}}
    {{- end -}}
    {{- fail (printf "values: flow: the chart has no Flow %q; it has: %s" .Values.flow (join ", " $names)) -}}
  {{- end -}}
  {{- $text | fromYaml | toJson -}}
{{- end }}

{{/*
The executors of the Flow as {items: [{name, component, node, values, usesWith, model, cuda}]}: `node` is the
topology's, `values` executors.NAME over executorDefaults and, where the executor takes a model, over `model`; `model`
is its name.
*/}}
{{- define "clip.executors" -}}
  {{- $nodes := (include "clip.topology" . | fromJson).executors -}}
  {{- $names := list -}}
  {{- range $nodes }}{{- $names = append $names .name }}{{- end -}}
  {{- range $name := keys .Values.executors | sortAlpha -}}
    {{- if not (has $name $names) -}}
      {{- $says := "values: executors.%s: the Flow has no executor of this name; it has: %s" -}}
      {{- fail (printf $says $name (join ", " $names)) -}}
    {{- end -}}
  {{- end -}}
  {{- include "clip.checkModel" (dict "root" $ "nodes" $nodes) -}}
  {{- $items := list -}}
  {{- range $node := $nodes -}}
    {{- $override := deepCopy (get $.Values.executors $node.name | default dict) -}}
    {{- range $key, $value := $override -}}
      {{- /* null is the Flow's value where the Flow has one, else the default's */ -}}
      {{- if and (kindIs "invalid" $value) (ne $key "device") }}{{- $_ := unset $override $key }}{{- end -}}
    {{- end -}}
    {{- /* an executor that takes no model needs neither weights nor a way to download them */ -}}
    {{- $model := deepCopy $.Values.model -}}
    {{- if not $node.modelOption }}{{- $_ := set $model "source" "image" }}{{- $_ := set $model "claim" "" }}{{- $_ := set $model "oci" "" }}{{ end -}}
    {{- $values := mergeOverwrite (deepCopy $.Values.executorDefaults) (dict "model" $model) $override -}}
    {{- $settings := dict "device" $values.device -}}
    {{- with $node.modelOption }}{{- $_ := set $settings . $values.model.name }}{{ end -}}
    {{- $usesWith := include "clip.usesWith" (list $node.usesWith $values.usesWith $settings) | fromJson -}}
    {{- $cuda := hasPrefix "cuda" ($usesWith.device | default "cpu") -}}
    {{- include "clip.checkExecutor" (dict "root" $ "name" $node.name "values" $values "own" $override) -}}
    {{- $model := get $usesWith ($node.modelOption | default "") -}}
    {{- $items = append $items (dict "name" $node.name "component" $node.component "node" $node "values" $values
      "usesWith" $usesWith "model" $model "cuda" $cuda) -}}
  {{- end -}}
  {{- include "clip.checkOneModel" (dict "root" $ "items" $items) -}}
  {{- dict "items" $items | toJson -}}
{{- end }}

{{/* Settings laid over each other, the last one strongest; a null says nothing. */}}
{{- define "clip.usesWith" -}}
  {{- $merged := dict -}}
  {{- range $layer := . -}}
    {{- range $key, $value := $layer -}}
      {{- if not (kindIs "invalid" $value) }}{{- $_ := set $merged $key $value }}{{- end -}}
    {{- end -}}
  {{- end -}}
  {{- toJson $merged -}}
{{- end }}

{{/* A model is given to executors that take one. */}}
{{- define "clip.checkModel" -}}
  {{- $taking := list -}}
  {{- range .nodes }}{{ if .modelOption }}{{ $taking = append $taking .name }}{{ end }}{{ end -}}
  {{- range $name, $override := .root.Values.executors -}}
    {{- if and ($override | default dict).model (not (has $name $taking)) -}}
      {{- $says := "values: executors.%s.model: this executor takes no model; those that do: %s" -}}
      {{- fail (printf $says $name (join ", " $taking)) -}}
    {{- end -}}
  {{- end -}}
  {{- with .root.Values.model -}}
    {{- if and (or .name .claim (ne .source "image")) (not $taking) -}}
      {{- fail (printf "values: model: no executor of the Flow %s takes one" $.root.Values.flow) -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{/* Vectors of two checkpoints cannot be compared, and the gateway of such a Flow never gets ready. */}}
{{- define "clip.checkOneModel" -}}
  {{- $models := list -}}
  {{- $named := list -}}
  {{- range .items -}}
    {{- if .model -}}
      {{- $models = append $models .model -}}
      {{- $named = printf "%s has %v" .name .model | append $named -}}
    {{- end -}}
  {{- end -}}
  {{- if gt (uniq $models | len) 1 -}}
    {{- $says := "the executors of the Flow %s must have one model, and %s: set model.name for all of them" -}}
    {{- fail (printf (print "values: model: " $says) .root.Values.flow (join ", " $named)) -}}
  {{- end -}}
{{- end }}

{{/* What a schema cannot say, for it takes two values to be wrong. */}}
{{- define "clip.checkExecutor" -}}
  {{- $at := printf "values: executors.%s" .name -}}
  {{- $model := ternary (printf "%s.model" $at) "values: model" (hasKey .own "model") -}}
  {{- with .values.model -}}
    {{- if and (eq .source "claim") (not .claim) -}}
      {{- fail (printf "%s: source is claim, so claim must name a PersistentVolumeClaim" $model) -}}
    {{- end -}}
    {{- if and .claim (ne .source "claim") -}}
      {{- fail (printf "%s: claim is set, so source must be claim" $model) -}}
    {{- end -}}
    {{- if and (eq .source "oci") (not .oci) -}}
      {{- fail (printf "%s: source is oci, so oci must name an image by its digest" $model) -}}
    {{- end -}}
    {{- if and .oci (ne .source "oci") -}}
      {{- fail (printf "%s: oci is set, so source must be oci" $model) -}}
    {{- end -}}
    {{- if and (eq .source "oci") (semverCompare "<1.35-0" $.root.Capabilities.KubeVersion.Version) -}}
      {{- $says := "%s: source is oci, an image as a volume, which needs Kubernetes 1.35 or newer; this is %s" -}}
      {{- fail (printf (print $says ". Put the weights on a claim, or bake them into the executor's image") $model
        $.root.Capabilities.KubeVersion.Version) -}}
    {{- end -}}
  {{- end -}}
  {{- include "clip.checkAutoscaling" (dict "at" $at "autoscaling" .values.autoscaling) -}}
{{- end }}

{{/* Doors that lead nowhere. */}}
{{- define "clip.checkRoutes" -}}
  {{- with .Values.gateway -}}
    {{- if and .ingress.enabled (not .ingress.hosts) -}}
      {{- fail "values: gateway.ingress: enabled, so hosts must name one at least" -}}
    {{- end -}}
    {{- if and .httpRoute.enabled (not .httpRoute.parentRefs) -}}
      {{- fail "values: gateway.httpRoute: enabled, so parentRefs must name a Gateway" -}}
    {{- end -}}
  {{- end -}}
{{- end }}

{{- define "clip.checkAutoscaling" -}}
  {{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) -}}
    {{- fail (printf "%s.autoscaling: minReplicas (%d) is more than maxReplicas (%d)" .at
      (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)) -}}
  {{- end -}}
{{- end }}

{{/* A pod that ends must have lost its connections, which takes their age, before it is told to stop. */}}
{{- define "clip.checkShutdown" -}}
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

{{/* Executors by name and address, as Jina's gateway takes them: {NAME: ["grpc://..."]}. */}}
{{- define "clip.addresses" -}}
  {{- $addresses := dict -}}
  {{- range (include "clip.executors" . | fromJson).items -}}
    {{- $host := include "clip.host" (dict "root" $ "component" .component) -}}
    {{- $_ := set $addresses .name (list (printf "grpc://%s:%v" $host (first .node.ports).port)) -}}
  {{- end -}}
  {{- toJson $addresses -}}
{{- end }}

{{/* Connections are renewed after a while: how new pods come to their share, and how old ones lose theirs. */}}
{{- define "clip.serverOptions" -}}
  {{- $age := dict "grpc.max_connection_age_ms" (mul 1000 .root.Values.connections.maxAgeSeconds)
    "grpc.max_connection_age_grace_ms" (mul 1000 .root.Values.connections.graceSeconds) -}}
  {{- merge $age .node.grpcServerOptions | toJson -}}
{{- end }}

{{/* All addresses of a headless Service take turns, and a lost one is looked up again within a second. */}}
{{- define "clip.channelOptions" -}}
  {{- $balanced := dict "grpc.lb_policy_name" "round_robin" "grpc.dns_min_time_between_resolutions_ms" 1000 -}}
  {{- merge $balanced .node.grpcChannelOptions | toJson -}}
{{- end }}

{{/* JSON as an argument in YAML: quoted, and safe from the kubelet, which expands $(NAME) and makes one $ of two. */}}
{{- define "clip.json" -}}
  {{- . | replace "$" "$$" | replace "'" "''" | squote -}}
{{- end }}
