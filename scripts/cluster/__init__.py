"""Runs the Flow on a cluster.

| file | what it does |
|---|---|
| `flow_images.py` | prints the images of a Flow, as in the chart's topology |
| `images.sh` | builds them (`make images`) |
| `kind.sh` | creates a kind cluster on this machine (`make kind-up`) |
| `deploy.sh` | installs the release in the current kubectl context (`make deploy`) |
"""
