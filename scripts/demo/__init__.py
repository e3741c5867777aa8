"""Runs the demo (`make demo`).

| module | what it does |
|---|---|
| `story` | runs all steps |
| `pictures` | lists the images and the queries |
| `encode` | encodes them through the gateway |
| `reference` | encodes the same with `clip` itself, in a separate process |
| `checks` | checks the embeddings |
| `show` | prints the table of documents and the rankings |
| `contact_sheet` | draws the rankings |
"""
