#!/usr/bin/env bash
# Builds the images of the Flow: clip-gateway and clip-image-encoder, tagged with the version in pyproject.toml.
#
#   REGISTRY=registry.example.com/team   where they belong; empty: this machine alone
#   DEVICE=cuda                          clip-image-encoder:VERSION-gpu, with torch's CUDA build (some gigabytes)
#   TAG=...                              in place of the version
#   MODEL=ViT-B/32                       bake these weights in: a name, or a file or folder in models/baked/
#   DOCKER_BUILD_FLAGS=...               more for `docker build`
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || true)
prefix=${REGISTRY:+${REGISTRY%/}/}

build() { # build NAME TAG FOLDER [FLAG ...]
  local image=$prefix$1:$2 folder=$3 log
  shift 3
  echo "building $image (minutes the first time)"
  # Flags of several words, such as --network host, come as one variable.
  # shellcheck disable=SC2086
  log=$(docker build ${DOCKER_BUILD_FLAGS:-} --file "$folder/Dockerfile" --tag "$image" \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" "$@" . 2>&1) || {
    printf '%s\n' "$log" >&2
    exit 1
  }
}

if [ "${DEVICE:-cpu}" = cuda ]; then
  build clip-image-encoder "${TAG:-$version-gpu}" executors/clip_image --build-arg DEVICE=cuda --build-arg MODEL="${MODEL:-}"
else
  build clip-gateway "${TAG:-$version}" gateway
  build clip-image-encoder "${TAG:-$version}" executors/clip_image --build-arg MODEL="${MODEL:-}"
fi
docker images --format '  {{.Repository}}:{{.Tag}}  {{.Size}}' | grep -E "${prefix}clip-(gateway|image-encoder):${TAG:-$version}(-gpu)? "
