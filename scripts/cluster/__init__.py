"""The Flow on a cluster.

| file | what it holds |
|---|---|
| `flow_images.py` | the images of a Flow, as the chart's topology names them |
| `images.sh` | builds them (`make images`) |
| `kind.sh` | a kind cluster on this machine (`make kind-up`) |
| `deploy.sh` | the release in the current kubectl context (`make deploy`) |
"""
