"""Imports OpenVINO with its telemetry disabled.

OpenVINO reports usage through the package `openvino_telemetry`, and works without it if the import fails. This module
makes that import fail; it must be imported before any other import of OpenVINO.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "this module does not exist"

import openvino  # noqa: E402

__all__ = ["openvino"]
