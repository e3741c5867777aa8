"""What `make` runs beside the tests.

| room or module | what it holds |
|---|---|
| `flow` | the Flow on this machine (`make serve`): which one, how it is called, its start and its end |
| `demo` | the whole way, once (`make demo`) |
| `export` | from the Flow file to what Kubernetes runs (`make export`), with `export_k8s.py` as its command |
| `cluster` | images, a kind cluster, and the release on it (`make images`, `make kind-up`, `make deploy`) |
| `processes` | free ports, and process groups that end with the block that started them |
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Of the repository."""
