#!/usr/bin/env bash
# Builds the images of the Flow, as the chart's topology names them, each by its Dockerfile (python -m scripts.cluster.flow_images).
#
#   FLOW=flows/NAME.yml                  another Flow than flows/encode_flow.yml
#   REGISTRY=registry.example.com/team   where they belong; empty: this machine alone
#   DEVICE=cuda                          IMAGE:VERSION-gpu of those that run on a GPU, with torch's CUDA build (some gigabytes)
#   TAG=...                              in place of the version
#   MODEL=ViT-B/32                       bake these weights in: a name, or a file or folder in models/baked/
#   BASE=...                             another base image than the Dockerfiles' own, which is named by its digest
#   DOCKER_BUILD_FLAGS=...               more for `docker build`
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || true)
prefix=${REGISTRY:+${REGISTRY%/}/}

build() { # build IMAGE DOCKERFILE [FLAG ...]
  local image=$1 file=$2 log
  shift 2
  echo "building $image (minutes the first time)"
  # Flags of several words, such as --network host, come as one variable.
  # shellcheck disable=SC2086
  log=$(docker build ${DOCKER_BUILD_FLAGS:-} ${BASE:+--build-arg BASE="$BASE"} --file "$file" --tag "$image" \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" "$@" . </dev/null 2>&1) || {
    printf '%s\n' "$log" >&2
    exit 1
  }
  docker images --format '  {{.Repository}}:{{.Tag}}  {{.Size}}' "$image"
}

takes() { grep -q "^ARG $1=" "$2"; } # takes ARGUMENT DOCKERFILE

nodes=$(.venv/bin/python -m scripts.cluster.flow_images)
while read -r image folder file; do
  if [ "$file" = - ]; then
    echo "not built here: $image"
    continue
  fi
  flags=() tag=${image##*:}
  if [ "${DEVICE:-cpu}" = cuda ]; then
    takes DEVICE "$file" || continue
    flags+=(--build-arg DEVICE=cuda) tag=$tag-gpu
  fi
  if takes EXECUTOR "$file"; then flags+=(--build-arg EXECUTOR="$(basename "$folder")"); fi
  if takes MODEL "$file"; then flags+=(--build-arg MODEL="${MODEL:-}"); fi
  build "$prefix${image%:*}:${TAG:-$tag}" "$file" ${flags[@]+"${flags[@]}"}
done < <(cut -d ' ' -f 2- <<<"$nodes" | sort --unique)
