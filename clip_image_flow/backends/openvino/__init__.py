"""The OpenVINO backend.

| module | what it does |
|---|---|
| `library` | imports OpenVINO without its telemetry; all other modules import it from there |
| `backend` | runs a tower on the CPU |
| `conversion` | converts a tower to an OpenVINO model, or loads it from the cache |
| `cache` | stores converted models on disk, atomically |
| `blocks`, `timm_blocks` | transformers rewritten for OpenVINO; only these modules import torch at the top |

This module imports nothing: a cached conversion starts without torch, and a machine without OpenVINO uses torch.
"""
