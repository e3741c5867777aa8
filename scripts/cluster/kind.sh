#!/usr/bin/env bash
# Creates or deletes the kind cluster for `make deploy`: kind.sh up | down. Both are idempotent.
#
#   KIND_CLUSTER=clip-image-flow   name of the cluster; its kubectl context is kind-NAME
#   KIND_NODE_IMAGE=...            node image; default: kind's own
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${KIND_CLUSTER:-clip-image-flow}

up() {
  if kind get clusters 2>/dev/null | grep -qx "$name"; then
    if kubectl --context "kind-$name" get --raw /readyz >/dev/null 2>&1; then
      echo "the cluster $name is up"
      kubectl config use-context "kind-$name" >/dev/null
      return
    fi
    echo "the cluster $name does not respond: creating it again"
    kind delete cluster --name "$name"
  fi
  kind create cluster --name "$name" ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"} --config scripts/cluster/kind.yaml --wait 180s
}

case "${1:-}" in
  up) up ;;
  down) kind delete cluster --name "$name" ;;
  *)
    echo "usage: $0 up | down" >&2
    exit 2
    ;;
esac
