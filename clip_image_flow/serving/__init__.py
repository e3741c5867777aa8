"""The base class of all Executors: the only package that imports Jina and DocArray.

| module | what it does |
|---|---|
| `executor` | options, start-up errors, endpoints, `/info` and shutdown |
| `parameters` | validates the parameters of a request |
| `ranking` | scores and sorts the matches of a document |
| `selection` | selects the documents to encode, and sets their embeddings |
| `self_check` | compares the engine's vectors with its first ones |
| `observer` | passes the batcher's events to metrics, traces and requests |
| `metrics` | Prometheus metrics beside Jina's own |
| `tracing` | OpenTelemetry spans beside Jina's own |
| `logs` | one log line per request |
| `jina_internals` | uses of Jina's private names |
"""
