"""Names and errors that the gateway and the Executors share.

| module | what it defines |
|---|---|
| `errors` | the error classes of a request, with their HTTP status |
| `parameters` | the names of request parameters: known ones, and those reserved for the gateway |
| `endpoints` | the endpoints of every Executor |
| `info` | the fields of the `/info` response |
| `work` | time that a request took in an Executor, for the gateway's log |
| `log_lines` | the format of log lines |
| `old_names` | the export of Jina's metrics with two names |
| `environment` | Jina's counters of bytes, kept out of the environment |
| `termination` | the termination message of a pod |

The package imports only the standard library.
"""
