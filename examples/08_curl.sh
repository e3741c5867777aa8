#!/usr/bin/env bash
# Encodes an image with curl; the request body is the file itself.
#
#   examples/08_curl.sh http://127.0.0.1:8000 cat.jpg
set -euo pipefail
host=${1:-http://127.0.0.1:8000}
picture=${2:-$(dirname "$0")/pictures/heldout/fox.png}

echo "JSON:"
curl --silent --show-error --fail-with-body --data-binary "@$picture" -H 'Content-Type: image/png' \
  "$host/embed?normalize=true" | cut -c 1-100

echo "a NumPy file:"
curl --silent --show-error --fail-with-body --data-binary "@$picture" -H 'Content-Type: image/png' \
  -H 'Accept: application/x-npy' --output /dev/null --write-out '%{content_type}, %{size_download} bytes\n' "$host/embed"

echo "what is wrong with bytes that are no picture:"
curl --silent --show-error --data-binary hello -H 'Content-Type: image/png' "$host/embed" | cut -c 1-200
