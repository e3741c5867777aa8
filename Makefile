# clip-image-flow: `make` lists what there is. Every target does its own set-up, into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The newest of these that is there; an existing .venv keeps its own. Images have 3.11.
PYTHONS := 3.13 3.12 3.11
PYTHON ?= $(or $(firstword $(foreach v,$(PYTHONS),$(shell python$(v) -c '' 2>/dev/null && echo python$(v)))),python3.11)
VENV := .venv
BIN := $(VENV)/bin

# torch comes apart from the lock: its CPU build from PIP_FIND_LINKS where a wheel for this Python lies there, else from
# PyTorch's index, else, said aloud, the registry's CUDA build, some gigabytes, which `make setup DEVICE=cuda` asks for.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
DEVICE ?= cpu
READY := $(VENV)/.ready-$(DEVICE)

# YAML that a program wrote: sound, in a style that is not ours.
WRITTEN_YAML := {extends: relaxed, rules: {line-length: disable, indentation: {indent-sequences: whatever}, empty-lines: disable}}

export WRITTEN_YAML
# Docker, kind, helm and kubectl: from the kit beside the checkout where there is one, else from the PATH. The kit makes
# the base image itself, so there it has no digest.
KIT := $(wildcard ../shared/cluster/up)
WITH_TOOLS := $(if $(KIT),eval "$$($(KIT))";)
export DOCKER_BUILD_FLAGS ?= $(if $(KIT),--network host)
export BASE ?= $(if $(KIT),python:3.11-slim-bookworm)

export JINA_OPTOUT_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## install everything into .venv (DEVICE=cuda: torch's CUDA build)

$(READY): locks/dev.txt locks/torch-cpu.txt locks/runtime-cuda.txt pyproject.toml gateway/pyproject.toml
	@$(PYTHON) -c '' || { echo "one of Python $(PYTHONS) is needed (or PYTHON=/path/to/python3.12)" >&2; exit 1; }
	@echo "setting up $(VENV) (some minutes the first time)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@if compgen -G "$(VENV)/.ready-*" >/dev/null && [ ! -e $@ ]; then $(BIN)/pip uninstall --quiet --yes torch; fi
	@locked="$(BIN)/pip install --quiet --no-deps --require-hashes"; \
	cpu() { $$locked --no-index -r locks/torch-cpu.txt 2>/dev/null || $$locked --retries 1 --index-url $(TORCH_INDEX) -r locks/torch-cpu.txt; }; \
	cuda() { $$locked -r locks/runtime-cuda.txt; }; \
	if [ $(DEVICE) = cuda ]; then cuda; \
	else cpu || { echo "torch's CPU build is not reached: taking the registry's, with CUDA, some gigabytes" >&2; cuda; }; fi
	@$(BIN)/pip install --quiet --no-deps --require-hashes -r locks/dev.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e . -e gateway
	@rm -f $(VENV)/.ready-*; touch $@

.PHONY: demo
demo: $(READY) ## start the Flow, encode real pictures and words, rank the pictures by the words, draw demo.png
	@$(BIN)/python -m scripts.demo

.PHONY: serve
serve: $(READY) ## run the Flow until Ctrl-C: words and pictures (FLOW=flows/encode_flow.yml: pictures alone, the Flow that is exported; CLIP_MODEL, CLIP_GRPC_PORT, CLIP_HTTP_PORT, REPLICAS)
	@exec $(BIN)/python -m scripts.flow.serve

.PHONY: test
test: lint test-unit test-flow test-clients test-chart test-cluster ## every check there is

.PHONY: lint
lint: $(READY) ## style, types, layers, YAML, shell
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/yamllint --strict .
	@$(BIN)/yamllint --strict --config-data "$$WRITTEN_YAML" k8s
	@for helm in helm helm3; do if ! command -v $$helm >/dev/null; then echo "SKIPPED: $$helm lint ($$helm is not on the PATH)"; \
	  [ -z "$${CI:-}" ]; else $$helm lint --strict --quiet helm/clip-image-flow; fi; done
	@$(BIN)/shellcheck .ci/run scripts/cluster/*.sh examples/*.sh benchmarks/peers/*.sh

.PHONY: test-unit
test-unit: $(READY) ## the library and the Executor, in process
	@$(BIN)/pytest tests/unit

.PHONY: test-flow
test-flow: $(READY) ## a real Flow on real sockets, by gRPC and HTTP
	@$(BIN)/pytest tests/flow

# Each Python that is there, by its name or as one of pyenv's, with an environment of its own in .cache/pythons.
.PHONY: test-pythons
test-pythons: ## lint, unit and flow tests on every Python of 3.11, 3.12 and 3.13 that is there
	@for version in $(PYTHONS); do \
	  python=$$(python$$version -c 'import sys; print(sys.executable)' 2>/dev/null || \
	    ls $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python 2>/dev/null | tail -1 || true); \
	  if [ -z "$$python" ]; then echo "SKIPPED: Python $$version (it is not there)"; continue; fi; \
	  echo "== Python $$version ($$python)"; \
	  $(MAKE) --silent lint test-unit test-flow PYTHON=$$python VENV=.cache/pythons/$$version; \
	done

CLIENTS := .cache/clients
$(CLIENTS)/%/.ready: locks/%.txt
	@echo "setting up $(@D) (the clients that are tested)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --retries 1 "setuptools<81" wheel
	@$(@D)/bin/pip install --quiet --retries 1 --no-deps --no-build-isolation --require-hashes -r $<
	@touch $@

.PHONY: test-clients
test-clients: $(READY) ## the client libraries that people have, in environments of their own, against the Flow
	@for name in vendors clip-client; do $(MAKE) --silent $(CLIENTS)/$$name/.ready || \
	  echo "SKIPPED: the clients of locks/$$name.txt (they cannot be installed here)"; done
	@$(BIN)/pytest tests/clients

.PHONY: test-chart
test-chart: $(READY) ## the export and the chart, without a cluster
	@$(BIN)/pytest tests/chart

.PHONY: export
export: $(READY) ## write the chart's topologies, schema, README and golden rendering from the Flows and values.yaml, and k8s/ from one (FLOW=flows/NAME.yml)
	@$(BIN)/python -m scripts.export_k8s $(if $(FLOW),--flow $(FLOW))
	@$(BIN)/python -m scripts.export.chart_schema
	@if ! command -v helm-docs >/dev/null; then echo "SKIPPED: the chart's README (helm-docs is not on the PATH)"; \
	  else helm-docs --chart-search-root helm --sort-values-order file --log-level warning; fi
	@if ! command -v helm >/dev/null; then echo "SKIPPED: the golden rendering (helm is not on the PATH)"; \
	  else helm template clip helm/clip-image-flow --namespace clip >tests/chart/golden/defaults.yaml; fi

.PHONY: test-cluster
test-cluster: $(READY) ## the chart on a kind cluster of its own (PYTEST_FLAGS=--keep-cluster leaves it for the next run)
	@$(BIN)/pytest tests/cluster --timeout 1500 $(PYTEST_FLAGS)  # the first test of all waits for images and cluster

$(VENV):
	@$(MAKE) --silent setup

# Reading the Flow takes any .venv, so one that is older than its locks is left as it is.
.PHONY: images
images: | $(VENV) ## build the images of the Flow (FLOW, REGISTRY, MODEL: see scripts/cluster/images.sh)
	@$(WITH_TOOLS) scripts/cluster/images.sh

.PHONY: image-gpu
image-gpu: | $(VENV) ## build those of them that run on a GPU with torch's CUDA build, some gigabytes
	@$(WITH_TOOLS) DEVICE=cuda scripts/cluster/images.sh

.PHONY: kind-up
kind-up: ## a kind cluster on this machine, with the gateway's ports on 127.0.0.1
	@$(WITH_TOOLS) scripts/cluster/kind.sh up

.PHONY: kind-down
kind-down: ## delete it
	@$(WITH_TOOLS) scripts/cluster/kind.sh down

.PHONY: deploy
deploy: $(READY) ## install or upgrade the release in the current kubectl context, and encode a first picture and a first word (FLOW, REGISTRY, NAMESPACE, VALUES)
	@$(WITH_TOOLS) scripts/cluster/deploy.sh up

.PHONY: undeploy
undeploy: ## uninstall it
	@$(WITH_TOOLS) scripts/cluster/deploy.sh down

.PHONY: bench
bench: $(READY) ## how fast it is, as ratios: in process, by layer, served, cost, replicas (minutes); figures in benchmarks/results
	@for name in in_process texts doors layers "served --load" cost replicas; do $(BIN)/python -W ignore -m benchmarks.$$name; done
	@$(BIN)/python -W ignore -m benchmarks.plot

.PHONY: bench-peers
bench-peers: $(READY) ## the same beside clip-as-service and infinity, in environments of their own (gigabytes, long)
	@benchmarks/peers/setup.sh
	@$(BIN)/python -W ignore -m benchmarks.served --peers
	@$(BIN)/python -W ignore -m benchmarks.served --peers --text

.PHONY: bench-memory
bench-memory: $(READY) ## whether memory stays flat over 10,000 requests
	@$(BIN)/python -W ignore -m benchmarks.memory

.PHONY: overload
overload: $(READY) ## 1 and 3 times capacity, both protocols, and callers in bad company (minutes)
	@$(BIN)/python -W ignore -m benchmarks.overload

.PHONY: soak
soak: $(READY) ## mixed good and hostile callers for an hour (MINUTES=10 for a nightly run): does anything grow?
	@$(BIN)/python -W ignore -m benchmarks.soak --minutes $(or $(MINUTES),60)

.PHONY: fuzz
fuzz: $(READY) ## mutants of pictures, data URIs, messages and bodies (MINUTES=10, SEED=1), findings in fuzz/corpus
	@$(BIN)/python -W ignore -m fuzz --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

.PHONY: quantize
quantize: $(READY) ## make the int8 form of MODEL, calibrated with PICTURES (files or folders) and TEXTS (a file); of emoji-tiny, its recall too (needs npm)
	@$(if $(and $(MODEL),$(PICTURES)$(TEXTS)),,echo "usage: make quantize MODEL=ViT-B/32 PICTURES=~/pictures TEXTS=queries.txt" >&2; exit 1)
	@$(BIN)/python -W ignore -m clip_image_flow.quantize $(MODEL) $(PICTURES) $(if $(TEXTS),--texts $(TEXTS))
	@$(if $(filter emoji-tiny,$(MODEL)),if ! command -v npm >/dev/null; then echo "SKIPPED: its recall (npm is not on the PATH)"; \
	  else $(BIN)/python training/emoji_tiny/evaluate.py --precision int8; fi)

.PHONY: eval-model
eval-model: $(READY) ## recall of emoji-tiny, served by the Flow, on the style it never saw (needs npm)
	@$(BIN)/python training/emoji_tiny/evaluate.py --at-least 0.14 0.36 0.50

.PHONY: train-model
train-model: $(READY) ## train emoji-tiny again (an hour on two cores; needs npm)
	@$(BIN)/python training/emoji_tiny/train.py

.PHONY: format
format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: lock
lock: $(READY) ## resolve locks/*.in for every Python (UPGRADE=1: to the newest versions, not those locked now)
	@$(BIN)/pip install --quiet uv
	@$(BIN)/python -m scripts.lock $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## remove .venv and caches
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache build *.egg-info
