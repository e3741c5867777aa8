"""Print the images of a Flow, one node per line: key in the chart's values, image, directory, Dockerfile.

    gateway clip-gateway:0.1.0 gateway gateway/Dockerfile
    executors.text clip-text-encoder:0.1.0 executors/clip_text executors/Dockerfile

Images are named as in the chart's topology, and so in the pods. The directory is that of the config.yml in the Flow
file, the Dockerfile is in it or in its parent directory; `-` means that the image is built elsewhere.
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
    """The chart has no topology of the Flow, or an outdated one."""


@dataclass(frozen=True)
class NodeImage:
    """The image of the gateway or of an executor.

    :param key: key of the node in the chart's values: `gateway`, `executors.NAME`.
    :param image: image reference.
    :param folder: directory of its config.yml, relative to the repository; `-` if the Flow names the image itself.
    """

    key: str
    image: str
    folder: str

    @property
    def dockerfile(self) -> str:
        """Path relative to the repository, in `folder` or its parent; `-` for none."""
        folders = [] if self.folder == "-" else [Path(self.folder), Path(self.folder).parent]
        return next((str(folder / "Dockerfile") for folder in folders if (ROOT / folder / "Dockerfile").is_file()), "-")


def node_images(flow: Path, chart: Path = CHART) -> list[NodeImage]:
    """Return the images of the gateway and of each executor, in the Flow's order.

    :raises StaleTopologyError: if the chart's topology is missing or has other executors.
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
    """Print the images, or the name of the Flow; the exit code is 1 if the topology is stale."""
    parser = argparse.ArgumentParser(prog="python -m scripts.cluster.flow_images", description=__doc__)
    parser.add_argument("--flow", type=Path, default=flow_file(), help="Flow file (default: FLOW, else %(default)s)")
    parser.add_argument("--name", action="store_true", help="print only the name of the Flow")
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
