"""The programs behind the `make` targets, except tests.

| package or module | what it does |
|---|---|
| `flow` | selects, names, starts and stops the Flow on this machine (`make serve`) |
| `demo` | runs the demo (`make demo`) |
| `export` | converts the Flow file to Kubernetes objects (`make export`); `export_k8s.py` is the command |
| `cluster` | builds images, starts a kind cluster, and deploys to it (`make images`, `make kind-up`, `make deploy`) |
| `watch` | runs the Flow under a light load, with Prometheus (`make watch`) |
| `zero_shot` | measures the accuracy of zero-shot classification (`make eval-zero-shot`) |
| `lock` | resolves the lock files (`make lock`) |
| `prose` | checks the line lengths of Markdown (`make lint`) |
| `processes` | finds free ports, and runs process groups in a context manager |
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Root directory of the repository."""
