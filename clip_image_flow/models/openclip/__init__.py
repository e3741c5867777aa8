"""OpenCLIP's models, by the package `open_clip` (https://github.com/mlfoundations/open_clip): an extra, `openclip`.

| module | what it does |
|---|---|
| `architectures` | lists the architectures, without an import of the package |
| `description` | describes a checkpoint: its architecture, preprocessing and files |
| `sources` | finds a checkpoint by its name: a folder, a repository of the hub, a tag, a file |
| `library` | imports `open_clip`, which imports torch |
| `build` | loads a half of the model |

Only the last two import torch, and only when weights are read.
"""
