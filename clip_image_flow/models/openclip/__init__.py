"""OpenCLIP's models, by the package `open_clip` (https://github.com/mlfoundations/open_clip): an extra, `openclip`.

| module | what it does |
|---|---|
| `architectures` | which there are, read from the package without importing it |
| `description` | a checkpoint: its architecture, how it is prepared for, and its files |
| `sources` | a name -> a checkpoint: a folder, a repository of the hub, a tag, a file |
| `library` | `open_clip` itself, which imports torch |
| `build` | a checkpoint -> a half of the model |

Only the last two import torch, and only when weights are read.
"""
