"""Loaded with the Flow: Jina reports every start to its makers unless the environment says not to."""

import os

os.environ["JINA_OPTOUT_TELEMETRY"] = "1"
