"""From the Flow file to what Kubernetes runs.

    flow_file.py    the Flow file, checked, with an image for every `uses: path/config.yml`
    manifests.py    Jina's own export of it, cut off from network and environment, each option followed to its argument
    topology.py     those manifests as the data that the chart's templates are code over
    files.py        a set of texts against what lies on the disk: compared, or written all or none

Each step knows only the ones above it; `scripts/export_k8s.py` is the command.
Beside them `chart_schema.py`, a command too, writes the schema of the chart's values.
"""
