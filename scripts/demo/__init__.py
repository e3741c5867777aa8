"""The whole way, once (`make demo`).

| module | what it holds |
|---|---|
| `story` | the demo, step by step |
| `pictures` | the pictures that are encoded, and the texts that ask for them |
| `encode` | their way through the gateway |
| `reference` | what `clip` itself makes of the same, in a process of its own |
| `checks` | what must hold |
| `show` | the table of documents and the rankings |
| `contact_sheet` | the rankings as one picture |
"""
