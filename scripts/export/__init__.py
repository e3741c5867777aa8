"""Converts the Flow file to Kubernetes objects.

    flow_file.py    reads and checks the Flow file, and replaces `uses: path/config.yml` by images
    manifests.py    runs Jina's own export without network or environment, and checks that all options are in it
    topology.py     converts the manifests to the data of the chart's templates
    files.py        compares files with the disk, or writes all of them or none

Each step imports only those above it; `scripts/export_k8s.py` is the command. `chart_schema.py` is a separate command
that writes the schema of the chart's values.
"""
