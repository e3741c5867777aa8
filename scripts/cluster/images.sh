#!/usr/bin/env bash
# Builds the images of the Flow, named as in the chart's topology (python -m scripts.cluster.flow_images).
#
#   FLOW=flows/NAME.yml                  Flow file; default flows/encode_flow.yml
#   REGISTRY=registry.example.com/team   prefix of image names; default none
#   DEVICE=cuda                          build IMAGE:VERSION-gpu of images for GPUs, with torch's CUDA build (gigabytes)
#   TAG=...                              tag; default the version
#   MODEL=ViT-B/32                       weights to include: a name, or a file or directory in models/baked/
#   BASE=...                             base image; default that of the Dockerfiles, which is pinned by digest
#   DOCKER_BUILD_FLAGS=...               further flags for `docker build`
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || true)
prefix=${REGISTRY:+${REGISTRY%/}/}

build() { # build IMAGE DOCKERFILE [FLAG ...]
  local image=$1 file=$2 log
  shift 2
  echo "building $image (minutes the first time)"
  # Unquoted: the variable may have several words, such as --network host.
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
