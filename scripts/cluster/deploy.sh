#!/usr/bin/env bash
# Installs or uninstalls the release in the current kubectl context: deploy.sh up | down. `up` installs or upgrades it,
# waits until it is ready, runs `helm test`, and encodes a first image, and a text if the Flow has a text executor.
#
#   FLOW=flows/NAME.yml                  Flow file; default flows/encode_flow.yml; flows/clip_flow.yml is for images and
#                                        texts. Run `make export` after changing a Flow file
#   NAMESPACE=clip, RELEASE=clip         namespace and name of the release
#   VALUES=FILE                          values for the chart; default on kind: profiles/small.yaml
#   REGISTRY=registry.example.com/team   registry to push images to and pull them from; not needed for kind
#   PUSH=no                              do not build or push images: they exist already
set -euo pipefail
cd "$(dirname "$0")/../.."
chart=helm/clip-image-flow
namespace=${NAMESPACE:-clip}
release=${RELEASE:-clip}
context=$(kubectl config current-context 2>/dev/null) || {
  echo "kubectl has no current context: make kind-up, or kubectl config use-context ..." >&2
  exit 1
}
nodes=$(.venv/bin/python -m scripts.cluster.flow_images)
flow=$(.venv/bin/python -m scripts.cluster.flow_images --name)
flags=(--set-string "flow=$flow")
grpc="" http=""
export JINA_OPTOUT_TELEMETRY=1

say() { printf '\n== %s\n' "$*"; }

built_here() { # prints lines of KEY IMAGE
  local key image file
  while read -r key image _ file; do
    if [ "$file" != - ]; then echo "$key $image"; fi
  done <<<"$nodes"
}

on_kind() { # load images into the nodes, and expose the gateway on the ports of scripts/cluster/kind.yaml
  local cluster=${context#kind-} images
  say "load images into the nodes of $cluster"
  mapfile -t images < <(built_here | cut -d ' ' -f 2 | sort --unique)
  kind load docker-image "${images[@]}" --name "$cluster"
  flags+=(--values "${VALUES:-$chart/profiles/small.yaml}")
  if docker port "$cluster-control-plane" 30080 >/dev/null 2>&1; then
    flags+=(--set gateway.service.type=NodePort)
    flags+=(--set gateway.service.nodePorts.grpc=30051 --set gateway.service.nodePorts.http=30080)
    grpc=$(docker port "$cluster-control-plane" 30051) http=$(docker port "$cluster-control-plane" 30080)
  fi
}

elsewhere() {
  if [ -z "${REGISTRY:-}" ]; then
    echo "the context $context is not a kind cluster: set REGISTRY=... to a registry that its nodes can pull from" >&2
    exit 1
  fi
  if [ "${PUSH:-yes}" = yes ]; then
    say "push images to $REGISTRY"
    built_here | cut -d ' ' -f 2 | sort --unique | while read -r image; do docker push --quiet "${REGISTRY%/}/$image"; done
  fi
  flags+=(--set "global.imageRegistry=$REGISTRY" ${VALUES:+--values "$VALUES"})
}

# On a developer's machine the tag does not change with the image. Annotating pods with the image id rolls out exactly
# the pods whose image has changed.
name_images() {
  local key image id
  while read -r key image; do
    id=$(docker image inspect --format '{{.Id}}' "${REGISTRY:+${REGISTRY%/}/}$image")
    flags+=(--set-string "$key.podAnnotations.image-id=$id")
  done < <(built_here)
}

up() {
  if [ "${PUSH:-yes}" = yes ]; then
    say "build images"
    scripts/cluster/images.sh
    name_images
  fi
  case $context in kind-*) on_kind ;; *) elsewhere ;; esac
  say "helm upgrade --install $release (Flow $flow, context $context, namespace $namespace)"
  helm upgrade --install "$release" "$chart" --namespace "$namespace" --create-namespace --wait --timeout 10m "${flags[@]}" |
    sed -n '/^NOTES/,$p'
  say "helm test"
  helm test "$release" --namespace "$namespace" | grep -E '^(Phase|NAME):' || {
    kubectl --namespace "$namespace" logs "pod/$release-test" --tail 20 >&2 || true
    exit 1
  }
  first_picture
}

first_picture() {
  if [ -n "$http" ]; then
    say "encode a first image, from this machine"
    .venv/bin/python -W ignore examples/01_encode_pictures.py --host "grpc://$grpc" examples/pictures/heldout/rocket.png
    if grep -q ' clip-text-encoder:' <<<"$nodes"; then first_word; fi
    printf '\nThe gateway: grpc://%s and http://%s\n' "$grpc" "$http"
    printf "    curl --data-binary @examples/pictures/heldout/rocket.png -H 'Content-Type: image/png' http://%s/embed\n" "$http"
  else
    printf '\nThe gateway: service/%s-gateway in the namespace %s\n' "$release" "$namespace"
    printf '    kubectl --namespace %s port-forward service/%s-gateway 8080 8081\n' "$namespace" "$release"
  fi
}

first_word() {
  say "encode a first text, from this machine"
  .venv/bin/python -W ignore - "grpc://$grpc" <<'PYTHON'
import sys

from jina import Client, Document

(word,) = Client(host=sys.argv[1]).post("/", Document(text="rocket"))
print(f"{word.text}: {word.embedding.dtype} {word.embedding.shape}")
PYTHON
}

down() {
  if helm status "$release" --namespace "$namespace" >/dev/null 2>&1; then
    helm uninstall "$release" --namespace "$namespace" --wait
    kubectl --namespace "$namespace" delete pod "$release-test" --ignore-not-found  # created by a hook, so Helm does not delete it
  else
    echo "there is no release $release in the namespace $namespace of $context"
  fi
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  *)
    echo "usage: $0 up | down" >&2
    exit 2
    ;;
esac
