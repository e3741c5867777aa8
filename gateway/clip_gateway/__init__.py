"""The Flow's gateway: Jina's own, with true status codes, health, limits, tokens, TLS and plain HTTP routes.

Every request, whatever protocol it comes by, is answered by one function, `RequestHandler.serve`:

| room or module | what it holds |
|---|---|
| `gateway` | `ClipGateway`, which Jina loads: options, one server per protocol |
| `http` | Jina's HTTP server: `middleware`, which every request passes, `schemas` of bodies, `routes` |
| `grpc` | Jina's gRPC server and services, and what calls hold of memory while they are read |
| `flow` | a request through the Flow: what is in it, checks, time limit, errors; who answers, with which model |
| `observing` | log lines and metrics |
| `jina_internals` | every private name of Jina that is used, with its reason |
| `problems` | what is wrong with a request: status codes and body, by the classes of `clip_wire.errors` |
| `memory` | how many bytes of callers are held at the same time |
| `settings`, `caller`, `tokens` | what their names say |

It imports Jina, `clip_wire` and no torch; it knows an Executor by what crosses the wire alone.
"""
