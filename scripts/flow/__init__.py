"""The Flow on this machine.

| module | what it holds |
|---|---|
| `names` | which Flow, and how it and its executors are called |
| `running` | the Flow file with the environment's settings over it, and the Flow as a process of its own |
| `process` | what that process runs |
| `serve` | the Flow until Ctrl-C (`make serve`) |
"""
