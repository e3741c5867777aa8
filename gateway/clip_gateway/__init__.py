"""The Flow's gateway: Jina's gateway with correct status codes, health, limits, tokens, TLS and plain HTTP routes.

One function, `RequestHandler.serve`, answers the requests of every protocol:

| package or module | content |
|---|---|
| `gateway` | `ClipGateway`, which Jina loads: options, one server per protocol |
| `http` | Jina's HTTP server, with `middleware`, `schemas` of bodies, and `routes` |
| `grpc` | Jina's gRPC server and services, and limits on memory while messages are received |
| `flow` | requests through the Flow: checks, limits, errors; health, replicas and models of executors |
| `observing` | log lines and metrics |
| `jina_internals` | private names of Jina that are used, with the reasons |
| `problems` | errors of requests, with status codes and bodies, by the classes of `clip_wire.errors` |
| `memory` | limit on the bytes that requests hold at the same time |
| `settings`, `caller`, `tokens` | options, the caller of a request, authentication |

The package imports Jina and `clip_wire`, but not torch, and knows an Executor only by its messages.
"""
