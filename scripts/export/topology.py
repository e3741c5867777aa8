"""Converts Jina's manifests to the data of the chart's templates: what runs, not how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from scripts.export.manifests import container, documents
from scripts.flow.names import object_name

# Arguments that the chart sets itself: namespace, addresses and number of replicas.
_CHARTS_OWN = {"--deployments-addresses", "--k8s-namespace", "--replicas", "--timeout-ready"}
# Arguments that become data, since the chart merges its own settings into them.
_DATA = {
    "--uses-with": "usesWith",
    "--grpc-server-options": "grpcServerOptions",
    "--grpc-channel-options": "grpcChannelOptions",
}
_GRAPH = "--graph-description"
# Keys in every ConfigMap of Jina that no program reads, since they are in lower case.
_NOISE = {"pythonunbuffered", "worker_class"}
_HEADER = """\
# What runs, written from the Flow by `make export`; change the Flow, not this file. How it runs is values.yaml.
"""


def topology(executors: Mapping[str, str | None], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the topology of a Flow for the chart.

    :param executors: executor name -> option that sets its model (None: no model), in the Flow's order.
    :param texts: manifests from `manifests.export`.
    :return: `gateway` and `executors`, each {name, image, args, usesWith, grpcServerOptions, grpcChannelOptions, env,
        ports}, and Jina's `graph`: name -> list of successors. An executor also has `component`, the name of its
        objects, and `modelOption`.
    """
    gateway, data = _deployment("gateway", texts["gateway/gateway.yml"])
    nodes = [_executor(name, option, texts) for name, option in executors.items()]
    return {"gateway": gateway, "executors": nodes, "graph": dict(sorted(data[_GRAPH].items()))}


def topology_text(data: dict[str, Any]) -> str:
    """Return the topology as YAML, with a header that says how it is generated."""
    return _HEADER + yaml.safe_dump(data, sort_keys=False, width=120)


def _executor(name: str, option: str | None, texts: Mapping[str, str]) -> dict[str, Any]:
    component = object_name(name)
    node, _ = _deployment(name, texts[f"{name}/{component}.yml"])
    return {"name": name, "component": component, "modelOption": option, **node}


def _deployment(name: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    one = container(text)
    arguments: list[str] = [one["args"][0]]
    data: dict[str, Any] = {}
    for option, values in _options(one["args"][1:]):
        if option in _DATA or option == _GRAPH:
            data[option] = json.loads(values[0])
        elif option not in _CHARTS_OWN:
            arguments += [option, *values]
    node = {
        "name": name,
        "image": one["image"],
        "args": arguments,
        **{key: data.get(option, {}) for option, key in _DATA.items()},
        "env": _environment(one, text),
        "ports": _ports(one["args"], text),
    }
    return node, data


def _options(arguments: list[str]) -> list[tuple[str, list[str]]]:
    """Parse `--a 1 2 --b` as [("--a", ["1", "2"]), ("--b", [])]; `manifests` has checked that Jina does the same."""
    options: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if argument.startswith("--"):
            options.append((argument, []))
        else:
            options[-1][1].append(argument)
    return options


def _environment(one: dict[str, Any], text: str) -> list[dict[str, Any]]:
    """Return the Flow's `env` and `env_from_secret` in Kubernetes' format, without the variables that Jina adds."""
    (config,) = documents(text, "ConfigMap")
    plain = [{"name": key, "value": value} for key, value in sorted(config["data"].items()) if key not in _NOISE]
    secret = [entry for entry in one["env"] if "secretKeyRef" in entry.get("valueFrom", {})]
    return plain + secret


def _ports(arguments: list[str], text: str) -> list[dict[str, Any]]:
    """Return the ports of the Services, named by their protocols."""
    protocols = [
        value.lower() for option, values in _options(arguments[1:]) if option == "--protocol" for value in values
    ]
    ports = [port for service in documents(text, "Service") for port in service["spec"]["ports"]]
    spoken = iter(protocols or ["grpc"])
    return [{"name": next(spoken) if port["name"] == "port" else port["name"], "port": port["port"]} for port in ports]
