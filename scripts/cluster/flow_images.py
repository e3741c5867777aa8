"""Print the images of a Flow, one node a line: its key in the chart's values, its image, its folder, its Dockerfile.

    gateway clip-gateway:0.1.0 gateway gateway/Dockerfile
    executors.text clip-text-encoder:0.1.0 executors/clip_text executors/Dockerfile

Images are those that the chart's topology names, and so the ones that pods will ask for. The folder is that of the
config.yml in the Flow file, the Dockerfile is the one in it or in the folder above; `-` stands for none, where an image
is built elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts import ROOT
from scripts.flow.names import CHART, flow_file, flow_files, flow_name, flow_names, topology_file


class StaleTopologyError(RuntimeError):
    """The chart has no topology of the Flow, or one of another version of it."""


@dataclass(frozen=True)
class NodeImage:
    """The image of the gateway or of an executor.

    :param key: where the chart's values have this node: `gateway`, `executors.NAME`.
    :param folder: of its config.yml, from the repository's root; `-` when the Flow names the image itself.
    """

    key: str
    image: str
    folder: str

    @property
    def dockerfile(self) -> str:
        """From the repository's root: its own, or the one for several executors beside each other; `-` for none."""
        folders = [] if self.folder == "-" else [Path(self.folder), Path(self.folder).parent]
        return next((str(folder / "Dockerfile") for folder in folders if (ROOT / folder / "Dockerfile").is_file()), "-")


def node_images(flow: Path, chart: Path = CHART) -> list[NodeImage]:
    """The gateway's image, and one for each executor, in the Flow's order.

    :raises StaleTopologyError: the chart's topology is missing or has other executors.
    """
    name = flow_name(flow)
    mend = "make export" if flow.resolve() in flow_files() else f"FLOW={flow} make export"
    file = topology_file(name, chart)
    if not file.is_file():
        there = ", ".join(flow_names(chart))
        raise StaleTopologyError(f"the chart has no topology of the Flow {name} (it has: {there}): {mend}")
    topology = yaml.safe_load(file.read_text(encoding="utf-8"))
    data = yaml.safe_load(flow.read_text(encoding="utf-8"))
    if [node["name"] for node in topology["executors"]] != [executor["name"] for executor in data["executors"]]:
        raise StaleTopologyError(f"{file}: its executors are not those of {flow}: {mend}")
    executors = [
        NodeImage(f"executors.{node['name']}", node["image"], _folder(flow, executor))
        for node, executor in zip(topology["executors"], data["executors"], strict=True)
    ]
    return [NodeImage("gateway", topology["gateway"]["image"], _folder(flow, data["gateway"])), *executors]


def _folder(flow: Path, options: dict[str, Any]) -> str:
    config = (flow.parent / str(options["uses"])).resolve()
    return os.path.relpath(config.parent, ROOT) if config.is_file() else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print them, or the Flow's name; the exit code is 1 when the topology is stale."""
    parser = argparse.ArgumentParser(prog="python -m scripts.cluster.flow_images", description=__doc__)
    parser.add_argument("--flow", type=Path, default=flow_file(), help="the Flow file (FLOW, else %(default)s)")
    parser.add_argument("--name", action="store_true", help="print the name of the Flow alone")
    options = parser.parse_args(arguments)
    if options.name:
        print(flow_name(options.flow))
        return 0
    try:
        for one in node_images(options.flow):
            print(one.key, one.image, one.folder, one.dockerfile)
    except (OSError, StaleTopologyError) as error:
        print(f"flow_images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
