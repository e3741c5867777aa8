"""OpenVINO as an engine.

    library.py      OpenVINO itself, imported without its telemetry: every other module has it from there
    backend.py      a tower on the CPU
    conversion.py   a tower as a model of OpenVINO's, from the disk where it was kept
    cache.py        what is kept on the disk, whole or not at all
    blocks.py       CLIP's transformers laid out for OpenVINO; the one module that needs torch

Nothing is imported here, so that a start without torch, and a machine without OpenVINO, stay possible.
"""
