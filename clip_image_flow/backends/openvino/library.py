"""OpenVINO, imported so that it reports nothing to its makers.

It does so through a package of its own, and does without where that cannot be imported; so in a process that imports
this module first, it cannot.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "this module does not exist"

import openvino  # noqa: E402

__all__ = ["openvino"]
