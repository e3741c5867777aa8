# clip-image-flow: `make` lists all targets. Every target installs what it needs into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The newest installed one of these creates .venv; an existing .venv keeps its Python. Images have 3.11.
PYTHONS := 3.13 3.12 3.11
PYTHON ?= $(or $(firstword $(foreach v,$(PYTHONS),$(shell python$(v) -c '' 2>/dev/null && echo python$(v)))),python3.11)
VENV := .venv
BIN := $(VENV)/bin

# torch is locked separately: its CPU build comes from PIP_FIND_LINKS if that has a wheel for this Python, else from
# PyTorch's index. If neither has one, the registry's CUDA build (several gigabytes) is installed, with a warning; `make
# setup DEVICE=cuda` installs it on purpose.
export TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
DEVICE ?= cpu
READY := $(VENV)/.ready-$(DEVICE)

# yamllint rules for generated YAML, which is valid but has another style.
WRITTEN_YAML := {extends: relaxed, rules: {line-length: disable, indentation: {indent-sequences: whatever}, empty-lines: disable}}

export WRITTEN_YAML
# Markdown whose prose lines are checked.
PROSE := README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md $(wildcard docs/*.md training/*/README.md)
# Docker, kind, helm and kubectl: from the kit next to the checkout if there is one, else from the PATH. The kit builds
# the base image itself, which therefore has no digest.
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
demo: $(READY) ## start the Flow, encode images and texts, rank the images by the texts, draw demo.png
	@$(BIN)/python -m scripts.demo

.PHONY: serve
serve: $(READY) ## run the Flow for images and texts until Ctrl-C (FLOW=flows/encode_flow.yml: images only; CLIP_MODEL, CLIP_GRPC_PORT, CLIP_HTTP_PORT, REPLICAS)
	@exec $(BIN)/python -m scripts.flow.serve

.PHONY: watch
watch: $(READY) ## run the Flow under a little load with a Prometheus that scrapes it (needs prometheus; FLOW, CLIP_MODEL as for serve; WATCH_FLAGS="--rate 40")
	@exec $(BIN)/python -W ignore -m scripts.watch $(WATCH_FLAGS)

.PHONY: test
test: lint test-unit test-flow test-clients test-chart test-cluster ## all checks and tests

.PHONY: lint
lint: $(READY) ## check style, types, layers, YAML, Markdown, shell
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/yamllint --strict .
	@$(BIN)/yamllint --strict --config-data "$$WRITTEN_YAML" k8s
	@$(BIN)/python -m scripts.prose $(PROSE)
	@for helm in helm helm3; do if ! command -v $$helm >/dev/null; then echo "SKIPPED: $$helm lint ($$helm is not on the PATH)"; \
	  [ -z "$${CI:-}" ]; else $$helm lint --strict --quiet helm/clip-image-flow; fi; done
	@$(BIN)/shellcheck .ci/run scripts/cluster/*.sh examples/*.sh benchmarks/peers/*.sh

.PHONY: test-unit
test-unit: $(READY) ## test the library and the Executors in process
	@$(BIN)/pytest tests/unit

.PHONY: test-flow
test-flow: $(READY) ## test real Flows on real sockets, over gRPC and HTTP
	@$(BIN)/pytest tests/flow

# Each installed Python, on the PATH or in pyenv, with a separate environment in .cache/pythons.
.PHONY: test-pythons
test-pythons: ## lint, unit and flow tests on every installed Python of 3.11, 3.12 and 3.13
	@for version in $(PYTHONS); do \
	  python=$$(python$$version -c 'import sys; print(sys.executable)' 2>/dev/null || \
	    ls $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python 2>/dev/null | tail -1 || true); \
	  if [ -z "$$python" ]; then echo "SKIPPED: Python $$version (not installed)"; continue; fi; \
	  echo "== Python $$version ($$python)"; \
	  $(MAKE) --silent lint test-unit test-flow PYTHON=$$python VENV=.cache/pythons/$$version; \
	done

CLIENTS := .cache/clients
$(CLIENTS)/%/.ready: locks/%.txt
	@echo "setting up $(@D) (client libraries for tests)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --retries 1 "setuptools<81" wheel
	@$(@D)/bin/pip install --quiet --retries 1 --no-deps --no-build-isolation --require-hashes -r $<
	@touch $@

.PHONY: test-clients
test-clients: $(READY) ## test third-party client libraries, in separate environments, against the Flow
	@for name in vendors clip-client; do $(MAKE) --silent $(CLIENTS)/$$name/.ready || \
	  echo "SKIPPED: the clients of locks/$$name.txt (they cannot be installed here)"; done
	@$(BIN)/pytest tests/clients

.PHONY: test-chart
test-chart: $(READY) ## test the export and the chart without a cluster
	@$(BIN)/pytest tests/chart

.PHONY: export
export: $(READY) ## generate the chart's topologies, schema, README and golden rendering from the Flows and values.yaml, and k8s/ (FLOW=flows/NAME.yml)
	@$(BIN)/python -m scripts.export_k8s $(if $(FLOW),--flow $(FLOW))
	@$(BIN)/python -m scripts.export.chart_schema
	@if ! command -v helm-docs >/dev/null; then echo "SKIPPED: the chart's README (helm-docs is not on the PATH)"; \
	  else helm-docs --chart-search-root helm --sort-values-order file --log-level warning; fi
	@if ! command -v helm >/dev/null; then echo "SKIPPED: the golden rendering (helm is not on the PATH)"; \
	  else helm template clip helm/clip-image-flow --namespace clip >tests/chart/golden/defaults.yaml; fi

.PHONY: test-cluster
test-cluster: $(READY) ## test the chart on a new kind cluster (PYTEST_FLAGS=--keep-cluster keeps it for the next run)
	@$(BIN)/pytest tests/cluster --timeout 1500 $(PYTEST_FLAGS)  # the first test waits for images and cluster

$(VENV):
	@$(MAKE) --silent setup

# Any .venv can read the Flow, so an outdated one is not updated.
.PHONY: images
images: | $(VENV) ## build the images of the Flow (FLOW, REGISTRY, MODEL: see scripts/cluster/images.sh)
	@$(WITH_TOOLS) scripts/cluster/images.sh

.PHONY: image-gpu
image-gpu: | $(VENV) ## build the images that run on a GPU, with torch's CUDA build (several gigabytes)
	@$(WITH_TOOLS) DEVICE=cuda scripts/cluster/images.sh

.PHONY: kind-up
kind-up: ## create a kind cluster on this machine, with the gateway's ports on 127.0.0.1
	@$(WITH_TOOLS) scripts/cluster/kind.sh up

.PHONY: kind-down
kind-down: ## delete the kind cluster
	@$(WITH_TOOLS) scripts/cluster/kind.sh down

.PHONY: deploy
deploy: $(READY) ## install or upgrade the release in the current kubectl context, and encode an image and a text (FLOW, REGISTRY, NAMESPACE, VALUES)
	@$(WITH_TOOLS) scripts/cluster/deploy.sh up

.PHONY: undeploy
undeploy: ## uninstall the release
	@$(WITH_TOOLS) scripts/cluster/deploy.sh down

.PHONY: bench
bench: $(READY) ## measure speed as ratios: in process, by layer, served, cost, replicas (minutes); results in benchmarks/results
	@for name in in_process texts doors layers "served --load" cost replicas; do $(BIN)/python -W ignore -m benchmarks.$$name; done
	@$(BIN)/python -W ignore -m benchmarks.plot

.PHONY: bench-families
bench-families: $(READY) ## measure a model of each family, with random weights, against open_clip itself (half an hour)
	@$(BIN)/python -W ignore -m benchmarks.families

.PHONY: bench-peers
bench-peers: $(READY) ## compare with clip-as-service and infinity, in separate environments (gigabytes, long)
	@benchmarks/peers/setup.sh
	@$(BIN)/python -W ignore -m benchmarks.served --peers
	@$(BIN)/python -W ignore -m benchmarks.served --peers --text

.PHONY: bench-memory
bench-memory: $(READY) ## measure memory over 10,000 requests
	@$(BIN)/python -W ignore -m benchmarks.memory

.PHONY: overload
overload: $(READY) ## load test at 1 and 3 times capacity, gRPC and HTTP, and with misbehaving clients (minutes)
	@$(BIN)/python -W ignore -m benchmarks.overload

.PHONY: soak
soak: $(READY) ## run normal and malicious clients for an hour (MINUTES), and check for leaks
	@$(BIN)/python -W ignore -m benchmarks.soak --minutes $(or $(MINUTES),60)

.PHONY: fuzz
fuzz: $(READY) ## fuzz images, data URIs, messages and bodies (MINUTES=10, SEED=1); failing inputs in fuzz/corpus
	@$(BIN)/python -W ignore -m fuzz --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

.PHONY: quantize
quantize: $(READY) ## quantize MODEL to int8, calibrated with PICTURES (files or folders) and TEXTS (a file); for emoji-tiny also print recall (needs npm)
	@$(if $(and $(MODEL),$(PICTURES)$(TEXTS)),,echo "usage: make quantize MODEL=ViT-B/32 PICTURES=~/pictures TEXTS=queries.txt" >&2; exit 1)
	@$(BIN)/python -W ignore -m clip_image_flow.quantize $(MODEL) $(PICTURES) $(if $(TEXTS),--texts $(TEXTS))
	@$(if $(filter emoji-tiny,$(MODEL)),if ! command -v npm >/dev/null; then echo "SKIPPED: its recall (npm is not on the PATH)"; \
	  else $(BIN)/python training/emoji_tiny/evaluate.py --precision int8; fi)

.PHONY: eval-model
eval-model: $(READY) ## evaluate the recall of emoji-tiny, served by the Flow, on an unseen style (needs npm)
	@$(BIN)/python training/emoji_tiny/evaluate.py --at-least 0.14 0.36 0.50

.PHONY: eval-zero-shot
eval-zero-shot: $(READY) ## measure the accuracy of MODEL, served by the Flow, on PICTURES, a folder per class (PRECISION, TEMPLATE)
	@$(if $(and $(MODEL),$(PICTURES)),,echo "usage: make eval-zero-shot MODEL=ViT-B/32 PICTURES=~/pictures" >&2; exit 1)
	@$(BIN)/python -W ignore -m scripts.zero_shot "$(MODEL)" $(PICTURES) $(if $(PRECISION),--precision $(PRECISION)) \
	  $(if $(TEMPLATE),--template "$(TEMPLATE)") --log $(VENV)/zero-shot.log

.PHONY: train-model
train-model: $(READY) ## train emoji-tiny (an hour on two cores; needs npm)
	@$(BIN)/python training/emoji_tiny/train.py

.PHONY: format
format: $(READY) ## apply ruff fixes and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: lock
lock: $(READY) ## resolve locks/*.in for every Python (UPGRADE=1: upgrade to the newest versions)
	@$(BIN)/pip install --quiet uv
	@$(BIN)/python -m scripts.lock $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## remove .venv and caches
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache build *.egg-info
