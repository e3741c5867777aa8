"""The Flow under a little load, watched by a Prometheus on this machine (`make watch`).

| module | what it holds |
|---|---|
| `prometheus` | a Prometheus as a process, which scrapes the Flow as one in a cluster would |
| `load` | requests at a rate, whether they are answered in time or not |
| `dashboard` | the chart's dashboard: its queries, and its panels as a picture |
| `story` | all of it, until Ctrl-C |
"""
