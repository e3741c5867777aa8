"""Jina's own export of a Flow, cut off from network and environment, with each option followed to its argument."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from scripts.export.flow_file import ExportError
from scripts.flow.names import object_name

# Found elsewhere than in a pod's arguments, or given by Kubernetes: addresses are always the Service's, ports count
# from 8080, `docker://` images hold their own config.yml.
_NOT_ARGUMENTS = {"env", "env_from_secret", "host", "needs", "port", "port_monitoring", "uses", "when"}
# A closed port of this machine: what Jina looks up anyway (its own newest version) is refused at once.
_NOWHERE = "http://127.0.0.1:9"


def export(flow: dict[str, Any], namespace: str) -> dict[str, str]:
    """What `Flow.to_kubernetes_yaml` writes.

    :param flow: of `flow_file.read_flow`.
    :returns: the texts by path (`encoder/encoder.yml`).
    :raises ExportError: Jina refuses the Flow, or an option of it does not arrive.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as scratch, _hermetic(scratch), _quiet():
        from jina import Flow  # here: Jina reads the environment, and writes to HOME, when it is imported

        try:
            loaded = Flow.load_config(yaml.safe_dump(flow, sort_keys=False))
            loaded.to_kubernetes_yaml(f"{scratch}/k8s", k8s_namespace=namespace)
        # whatever it is: Jina raises anything from AssertionError to yaml's own, for options it cannot take or write
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ExportError(f"Jina cannot export this Flow: {reason}") from error
        folder = Path(scratch) / "k8s"
        texts = {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in folder.rglob("*.yml")}
        _check_options(flow, texts)
    return dict(sorted(texts.items()))


def documents(text: str, kind: str) -> list[dict[str, Any]]:
    """The objects of `kind` in a text of several."""
    return [document for document in yaml.safe_load_all(text) if document["kind"] == kind]


def container(text: str) -> dict[str, Any]:
    """The one container that a text of the export runs."""
    (deployment,) = documents(text, "Deployment")
    (one,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(one)


@contextlib.contextmanager
def _hermetic(home: str) -> Iterator[None]:
    """The environment in which the export is the same for everybody, and no look-up leaves the machine."""
    saved = dict(os.environ)
    kept = {key: value for key, value in saved.items() if not key.upper().startswith("JINA_")}
    proxies = {key: _NOWHERE for name in ("http_proxy", "https_proxy", "all_proxy") for key in (name, name.upper())}
    closed = {**proxies, "no_proxy": "", "NO_PROXY": "", "HOME": home, "JINA_OPTOUT_TELEMETRY": "1"}
    os.environ.clear()
    os.environ.update({**kept, **closed})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Jina's greetings (JINA_LOG_LEVEL would do as well, and would be written into the manifests), and without
    its warnings about options, for which it builds every parser it has: `_check_options` finds them in a tenth of that.
    """
    with (
        warnings.catch_warnings(),
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        import jina.helper

        warn, jina.helper.warn_unknown_args = jina.helper.warn_unknown_args, lambda _unknown: None
        try:
            yield
        finally:
            jina.helper.warn_unknown_args = warn


def _check_options(flow: dict[str, Any], texts: dict[str, str]) -> None:
    """Jina drops or mangles some options in silence: read its arguments as its own command line would.

    :raises ExportError: for the first option that does not arrive as the Flow has it.
    """
    from jina.parsers import set_gateway_parser, set_pod_parser

    common = flow["with"]
    _check_node("gateway", flow["gateway"], common, texts["gateway/gateway.yml"], set_gateway_parser())
    pod = vars(set_pod_parser().parse_args([]))
    for executor in flow["executors"]:
        name = executor["name"]
        known = {key: value for key, value in common.items() if key in pod}  # the others are the gateway's alone
        _check_node(name, executor, known, texts[f"{name}/{object_name(name)}.yml"], set_pod_parser())


def _check_node(name: str, options: dict[str, Any], common: dict[str, Any], text: str, parser: Any) -> None:
    """One node's own options, and those of `with` that it does not have itself."""
    arguments = [str(argument) for argument in container(text)["args"][1:]]
    try:
        parsed, unknown = parser.parse_known_args(arguments)
    except (SystemExit, ValueError) as error:
        raise ExportError(f"{name}: Jina cannot read the arguments that it wrote: {arguments}") from error
    if unknown := [argument for argument in unknown if argument != "--native"]:
        raise ExportError(f"{name}: Jina would ignore the exported argument {unknown[0]!r}")
    inherited = {option: value for option, value in common.items() if option not in options}
    for where, several in (("with", inherited), (name, options)):
        for option, value in several.items():
            if option not in _NOT_ARGUMENTS:
                _check_option(f"{where}: {option}", value, option, parsed, name)
    _check_environment(name, options, text)


def _check_option(where: str, value: object, option: str, parsed: Any, node: str) -> None:
    if not hasattr(parsed, option):
        raise ExportError(f"{where}: Jina does not know this option")
    if not _same(value, arrived := getattr(parsed, option)):
        raise ExportError(
            f"{where}: Jina's export makes {arrived!r} of {value!r} for {node}; quotes, backslashes and letters "
            "outside ASCII do not survive it, other options have no effect in Kubernetes or belong to single nodes"
        )


def _check_environment(name: str, options: dict[str, Any], text: str) -> None:
    (config,) = documents(text, "ConfigMap")
    for key, value in options["env"].items():
        if not isinstance(value, str):
            raise ExportError(f"{name}: env: {key}: write the value as a string, '{value}'")
        if config["data"].get(key) != value:
            raise ExportError(f"{name}: env: {key}: Jina's export makes {config['data'].get(key)!r} of {value!r}")


def _same(value: object, arrived: object) -> bool:
    """Whether an option arrived: Jina reads some as enumerations, and lists of one from the value itself."""
    if value is None or value == arrived or [value] == arrived:
        return True
    values, got = (x if isinstance(x, list) else [x] for x in (value, arrived))
    return [str(x).lower() for x in values] == [str(x).lower() for x in got]
