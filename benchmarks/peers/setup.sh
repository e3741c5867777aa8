#!/usr/bin/env bash
# Installs clip-server 0.8.3 (clip-as-service) and infinity-emb 0.0.78 into separate environments in .cache/peers, with
# the random ViT-B/32 of benchmarks/pictures.py. Needs python3.11 and a pip that finds a CPU build of torch 2.13.0
# (PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL). `make bench-peers` runs it.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
peers="${PEERS_DIR:-$root/.cache/peers}"
weights="$root/.cache/bench/vit-b-32.pt"
mkdir -p "$peers"

environment() { # environment NAME: create it, with the shim for a torchvision that was built for another torch
  [ -x "$peers/$1/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$peers/$1"
  local site
  site="$("$peers/$1/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
  cp "$here/torchvision_shim.py" "$site/"
  echo 'import torchvision_shim' >"$site/torchvision_shim.pth"
}
pip() { "$peers/$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }

"$root/.venv/bin/python" -W ignore -c 'from benchmarks.pictures import random_vit_b_32; random_vit_b_32()'

environment vcas
pip vcas "setuptools<81" wheel
pip vcas -r "$here/jina.requirements.txt" -r "$here/clip-server.requirements.txt"
# --no-deps: open_clip_torch 2.8 pins a protobuf that Jina cannot use.
pip vcas --no-deps "torchvision==0.28.0"
pip vcas --no-deps --no-build-isolation "open_clip_torch>=2.8.0,<2.9.0" "clip-server==0.8.3" "clip-anytorch==2.6.0"
mkdir -p "$peers/cas-home/.cache/clip"
cp "$weights" "$peers/cas-home/.cache/clip/ViT-B-32.pt"
# The only change to clip-server: the cached weights are used whatever their MD5, since they are random.
sed -i 's/^\( *\)actual_md5sum = md5file(download_target)$/\1actual_md5sum = md5sum/' \
  "$("$peers/vcas/bin/python" -c 'import importlib.util as u; print(u.find_spec("clip_server").submodule_search_locations[0])')/model/pretrained_models.py"

environment vinf
pip vinf -r "$here/infinity.requirements.txt"
pip vinf --no-deps "torchvision==0.28.0"
words="$("$root/.venv/bin/python" -c 'import importlib.util as u; print(u.find_spec("clip").submodule_search_locations[0])')/bpe_simple_vocab_16e6.txt.gz"
"$peers/vinf/bin/python" "$here/hugging_face_model.py" "$weights" "$words" "$peers/inf-model"
echo "the peers are ready in $peers"
