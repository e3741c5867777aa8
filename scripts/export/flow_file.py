"""Reads and checks the Flow file, and replaces every `uses: path/config.yml` by an image."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scripts import ROOT
from scripts.flow.names import flow_name, model_option, object_name

# Set in every exported pod: Jina sends telemetry on each start unless this is set.
_POD_ENVIRONMENT = {"JINA_OPTOUT_TELEMETRY": "1"}

# Options that Jina exports wrongly or that only work on one machine, and what to use instead.
_NOT_EXPORTED = {
    "external": "its address would be lost; run it as part of the Flow",
    "floating": "errors of a floating executor would be lost; add it to the graph with `needs`",
    "gpus": "set GPUs in the chart's values: executors.{name}.device and executors.{name}.gpu",
    "image_pull_secrets": "set them in the chart's values: imagePullSecrets",
    "method": "only plain executors are exported; join branches with `needs`",
    "py_modules": "name the modules in the config.yml that `uses` points at: that file is in the image",
    "uses_after": "make it an executor of its own, with `needs`",
    "uses_before": "make it an executor of its own, with `needs`",
    "volumes": "mount volumes with the chart's values: executors.{name}.extraVolumes",
}
_IMAGE_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_REFERENCE = re.compile(r"docker://(?P<image>\S+)")
_FLOW_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
_DNS_LABEL = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
_RESERVED_NAMES = {"gateway", "gateway-headless", "test"}  # names of the chart's own objects


class ExportError(RuntimeError):
    """The Flow cannot be exported; the message names the option and the fix."""


@dataclass(frozen=True)
class Images:
    """Derives image references from image names.

    :param registry: prefix of all names, separated by `/`; empty for none.
    :param tag: tag of all images; by default the project's version.
    :param digests: image name (`metas.name`) -> `sha256:...`, used instead of the tag.
    """

    registry: str = ""
    tag: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def reference(self, name: str) -> str:
        """Return the full reference of the image `name`."""
        path = f"{self.registry.rstrip('/')}/{name}" if self.registry else name
        if digest := self.digests.get(name):
            return f"{path}@{digest}"
        return f"{path}:{self.tag or project_version()}"


def project_version() -> str:
    """Return the version in pyproject.toml, which is that of package, images and chart."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return version


def read_flow(path: Path, images: Images) -> dict[str, Any]:
    """Return the Flow for export, with images instead of local configurations, independent of this machine.

    :param path: Flow file.
    :param images: names of the images.
    :raises ExportError: if the file is not a Flow, or has an option that cannot be exported.
    """
    flow = _mapping(_load(path), str(path))
    if flow.get("jtype") != "Flow":
        raise ExportError(f"{path}: `jtype: Flow` is missing, so this is not a Flow file")
    if variable := re.search(r"\$\{\{.*?\}\}", path.read_text(encoding="utf-8")):
        raise ExportError(f"{path}: {variable[0]} depends on who exports; write the value itself")
    flow = {key: copy.deepcopy(value) for key, value in flow.items() if key != "py_modules"}  # only for local processes
    common = _mapping(flow.get("with") or {}, f"{path}: with")
    if "uses_with" in common:
        raise ExportError(f"{path}: with: uses_with has no effect here; set it on the gateway or on an executor")
    environment = {**_POD_ENVIRONMENT, **_mapping(common.get("env") or {}, f"{path}: with: env")}
    # `env` is merged into each node, since Jina ignores it for nodes with their own; `name` is not an option of nodes
    flow["with"] = {key: value for key, value in common.items() if key not in ("env", "name")}

    gateway = _mapping(flow.get("gateway"), f"{path}: gateway")
    if "uses" not in gateway:
        raise ExportError(f"{path}: gateway: `uses: path/config.yml` is missing; Jina's own gateway has no readiness")
    protocols = gateway.get("protocol", common.get("protocol"))
    if not isinstance(protocols, list) or sorted(str(one).upper() for one in protocols) != ["GRPC", "HTTP"]:
        raise ExportError(
            f"{path}: gateway: protocol must be [GRPC, HTTP], not {protocols!r}: probes use HTTP, clients either"
        )
    flow["gateway"] = _exported(path, "gateway", gateway, images, environment)

    executors = flow.get("executors")
    if not isinstance(executors, list) or not executors:
        raise ExportError(f"{path}: `executors:` must be a list of at least one executor")
    flow["executors"] = [
        _exported(path, f"executors[{i}]", _mapping(executor, f"{path}: executors[{i}]"), images, environment)
        for i, executor in enumerate(executors)
    ]
    _check_names(path, [executor.get("name") for executor in flow["executors"]])
    _check_needs(path, flow["executors"])
    return flow


def checked_name(path: Path) -> str:
    """Return the name of the Flow in `path`.

    :raises ExportError: if the name is not valid as the chart's value `flow` and as a file name.
    """
    if not _FLOW_NAME.fullmatch(name := flow_name(path)):
        raise ExportError(
            f"{path}: {name!r} is not a valid name of a Flow: lower case, digits, and `-` and `_` between them"
        )
    return name


def model_options(path: Path) -> dict[str, str | None]:
    """Return the executors of a Flow that `read_flow` has checked: name -> option that sets the model."""
    flow = _mapping(_load(path), str(path))
    return {executor["name"]: model_option(path, executor) for executor in flow["executors"]}


def _exported(
    path: Path, where: str, options: dict[str, Any], images: Images, environment: dict[str, Any]
) -> dict[str, Any]:
    """Return the options of one executor or of the gateway for export."""
    name = str(options.get("name", where))
    where = f"{path}: {name}"
    for option in sorted(_NOT_EXPORTED.keys() & options.keys()):
        if options[option] not in (None, False, [], "", "add"):
            raise ExportError(f"{where}: {option} is not exported: {_NOT_EXPORTED[option].format(name=name)}")
    if (shards := options.get("shards", 1)) != 1:
        raise ExportError(f"{where}: shards: {shards} is not exported; scale with replicas")
    own = _mapping(options.get("env") or {}, f"{where}: env")
    return {**options, "uses": _image(path, where, options.get("uses"), images), "env": {**environment, **own}}


def _image(path: Path, where: str, uses: object, images: Images) -> str:
    """Return `uses` as the `docker://` address that Jina's export requires."""
    if not isinstance(uses, str) or not uses:
        raise ExportError(f"{where}: `uses` must be the path of a config.yml or docker://image, not {uses!r}")
    if reference := _REFERENCE.fullmatch(uses):
        return f"docker://{reference['image']}"
    file = path.parent / uses
    if not file.is_file():
        raise ExportError(f"{where}: uses: {uses} is neither docker://image nor a file beside {path.name}")
    config = _mapping(_load(file), str(file))
    name = _mapping(config.get("metas") or {}, f"{file}: metas").get("name")
    if not isinstance(name, str) or not _IMAGE_NAME.fullmatch(name):
        raise ExportError(
            f"{file}: metas.name must be the image's name (lower case, digits, `.`, `_`, `-`), not {name!r}"
        )
    return f"docker://{images.reference(name)}"


def _check_names(path: Path, names: list[object]) -> None:
    seen: dict[str, object] = {}
    for name in names:
        if not isinstance(name, str) or not name:
            raise ExportError(f"{path}: every executor needs a `name`")
        label = object_name(name)
        if not _DNS_LABEL.fullmatch(label) or label in _RESERVED_NAMES:
            raise ExportError(
                f"{path}: executor {name!r}: a name has up to 40 letters, digits, `-` and `_`, begins with a letter, "
                f"and is none of {', '.join(sorted(_RESERVED_NAMES))}"
            )
        if label in seen:
            raise ExportError(f"{path}: executors {seen[label]!r} and {name!r} would both be called {label!r}")
        seen[label] = name


def _check_needs(path: Path, executors: list[dict[str, Any]]) -> None:
    """Check that all `needs` exist: Jina accepts any name, and waits for it at run time."""
    known = ["gateway"]
    for executor in executors:
        needs = executor.get("needs") or []
        for need in needs if isinstance(needs, list) else [needs]:
            if need not in known:
                raise ExportError(
                    f"{path}: {executor['name']}: needs: {need!r} is none of {', '.join(known)}, which stand before it"
                )
        known.append(executor["name"])


def _load(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExportError(f"{path}: {' '.join(str(error).split())}") from error


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ExportError(f"{where}: must be a mapping, not {value!r}")
    return value
