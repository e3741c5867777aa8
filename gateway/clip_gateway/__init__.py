"""The Flow's gateway: Jina's own, with true status codes, health, limits, tokens, TLS and plain HTTP doors.

Every request, whatever door it comes through, is answered by one function, `RequestHandler.serve`:

| module | what it does |
|---|---|
| `gateway` | `ClipGateway`, which Jina loads: options, one server per protocol |
| `grpc_server`, `http_server` | Jina's two servers, with an interceptor and an ASGI middleware at the door |
| `http_door` | what every HTTP request passes: id, token, limits, log line |
| `embed`, `openai_door`, `jina_door`, `health` | the HTTP routes |
| `grpc_calls` | Jina's gRPC services |
| `request_handler` | a request through the Flow: checks, time limit, errors |
| `model` | what `/info` says |
| `executors` | who behind the gateway answers, and to which endpoints |
| `problems` | the one map from an error's name to its status codes and its body |
| `negotiation`, `content_coding` | what `Accept` chooses, what `Content-Encoding` says |
| `http_messages`, `messages`, `openapi` | bodies, in and out, and their description |
| `http_protocol` | uvicorn's connections, which end when they are silent, slow or wasteful |
| `counting` | what is in a message, before anything is made of it |
| `memory`, `guard`, `limits` | how many bytes and requests are held at the same time |
| `settings`, `caller`, `tokens`, `logs`, `metrics` | what their names say |

It imports Jina and no torch; it knows an Executor by what crosses the wire alone.
"""
