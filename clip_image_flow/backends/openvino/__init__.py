"""OpenVINO as an engine.

| module | what it holds |
|---|---|
| `library` | OpenVINO itself, imported without its telemetry; every other module has it from there |
| `backend` | a tower on the CPU |
| `conversion` | a tower as a model of OpenVINO's, from the disk where it was kept |
| `cache` | what is kept on the disk, whole or not at all |
| `blocks` | CLIP's transformers laid out for OpenVINO; the one module that begins with torch |

Nothing is imported here: a kept conversion starts without torch, and a machine without OpenVINO takes torch.
"""
