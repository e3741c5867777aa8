"""Fuzzes all untrusted input: images, texts, data URIs, gRPC messages, JSON bodies, forms.

| module | what it does |
|---|---|
| `mutants` | generates mutants, reproducibly from a seed and a number |
| `hostile` | generates small files that are expensive to decode |
| `targets` | runs the project's own functions on a mutant |
| `child` | runs mutants one after the other, with limits of CPU time and memory; a mutant may end its process |
| `__main__` | runs child processes, and saves failing inputs in `corpus/` |

`make fuzz` runs it; the tests replay the corpus and a short sample.
"""
