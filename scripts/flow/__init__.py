"""Runs the Flow on this machine.

| module | what it does |
|---|---|
| `names` | selects the Flow file, and derives names of the Flow and its executors |
| `running` | applies environment variables to the Flow file, and runs the Flow as a separate process |
| `process` | the program of that process |
| `serve` | runs the Flow until Ctrl-C (`make serve`) |
"""
