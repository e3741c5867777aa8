"""What every Executor of this project does: the only room that knows Jina and DocArray.

| module | what it does |
|---|---|
| `executor` | options, start-up errors, the request loop, `/info` and the end |
| `parameters` | what a caller may ask of one request, checked |
| `ranking` | how well a document's matches fit it |
| `selection` | which documents a request asks for, and the embeddings back onto them |
| `self_check` | whether the engine still gives what it gave at first |
| `observer` | what the batcher tells, on to the next three |
| `metrics` | for Prometheus, beside Jina's own |
| `tracing` | spans, beside Jina's own |
| `logs` | one line for each request |
| `jina_internals` | what Jina has no public way for |
"""
