"""Runs the Flow under a light load, with Prometheus on this machine (`make watch`).

| module | what it does |
|---|---|
| `prometheus` | runs Prometheus as a process, which scrapes the Flow with the labels of a cluster |
| `load` | sends requests at a fixed rate, even if earlier ones are not answered yet |
| `dashboard` | reads the queries of the chart's dashboard, and draws its panels as an image |
| `story` | runs all of them until Ctrl-C |
"""
