"""What the gateway and the Executors agree on, and both import.

| module | what it says |
|---|---|
| `errors` | what can be wrong with a request: a class each, with its HTTP status |
| `parameters` | the parameters of one request: known ones, and those reserved for the gateway |
| `endpoints` | the endpoints that every Executor has |
| `info` | the fields of what `/info` answers |
| `work` | what a request took in an Executor, for the gateway's log |
| `log_lines` | what a log line looks like |

It imports the standard library alone.
"""
