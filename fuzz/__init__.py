"""A fuzzer of everything that a stranger can send: pictures, texts, data URIs, gRPC messages, JSON bodies, forms.

| module | what it does |
|---|---|
| `mutants` | mutant k of a seed, always the same bytes |
| `hostile` | files made by hand that are small and cost a lot |
| `targets` | what is done with a mutant: the product's own functions |
| `child` | runs mutants one after the other, within bounds; it may die of one |
| `__main__` | runs children, keeps what they find in `corpus/` |

`make fuzz` runs it; the tests replay the corpus and a short sample.
"""
