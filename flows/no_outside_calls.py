"""Loaded with the Flow, so that nothing leaves the machine when it starts.

Jina reports every start to its makers unless the environment says not to, and asks three web sites for this machine's
public address to print it.
"""

import os

from jina.orchestrate import orchestrator

os.environ["JINA_OPTOUT_TELEMETRY"] = "1"
orchestrator.get_public_ip = lambda: None
