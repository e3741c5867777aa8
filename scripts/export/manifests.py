"""Runs Jina's own export of a Flow without network or environment, and checks that all options are in it."""

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

# Options that are not in a pod's arguments, or that Kubernetes determines: addresses are those of Services, ports start
# at 8080, `docker://` images contain their config.yml.
_NOT_ARGUMENTS = {"env", "env_from_secret", "host", "needs", "port", "port_monitoring", "uses", "when"}
# A closed port of this machine: Jina's lookup of its newest version fails at once.
_NOWHERE = "http://127.0.0.1:9"


def export(flow: dict[str, Any], namespace: str) -> dict[str, str]:
    """Return the manifests that `Flow.to_kubernetes_yaml` writes.

    :param flow: Flow from `flow_file.read_flow`.
    :param namespace: Kubernetes namespace in the manifests.
    :return: path (`encoder/encoder.yml`) -> content.
    :raises ExportError: if Jina rejects the Flow, or an option is missing in the manifests.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as scratch, _hermetic(scratch), _quiet():
        from jina import Flow  # here: Jina reads the environment and writes to HOME on import

        try:
            loaded = Flow.load_config(yaml.safe_dump(flow, sort_keys=False))
            loaded.to_kubernetes_yaml(f"{scratch}/k8s", k8s_namespace=namespace)
        # for options that it cannot export, Jina raises anything from AssertionError to errors of yaml
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ExportError(f"Jina cannot export this Flow: {reason}") from error
        folder = Path(scratch) / "k8s"
        texts = {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in folder.rglob("*.yml")}
        _check_options(flow, texts)
    return dict(sorted(texts.items()))


def documents(text: str, kind: str) -> list[dict[str, Any]]:
    """Return the objects of `kind` in a YAML text with several documents."""
    return [document for document in yaml.safe_load_all(text) if document["kind"] == kind]


def container(text: str) -> dict[str, Any]:
    """Return the only container of the Deployment in an exported text."""
    (deployment,) = documents(text, "Deployment")
    (one,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(one)


@contextlib.contextmanager
def _hermetic(home: str) -> Iterator[None]:
    """Set an environment that makes the export reproducible and blocks network requests."""
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
    """Suppress Jina's output and its warnings about options.

    The variable JINA_LOG_LEVEL is not set for this, since Jina would write it into the manifests. The check that leads
    to the warnings is disabled: Jina builds all of its parsers for it, and `_check_options` takes a tenth of the time.
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
    """Parse the exported arguments with Jina's own parsers, since Jina drops or changes some options silently.

    :raises ExportError: for the first option that differs from the Flow.
    """
    from jina.parsers import set_gateway_parser, set_pod_parser

    common = flow["with"]
    _check_node("gateway", flow["gateway"], common, texts["gateway/gateway.yml"], set_gateway_parser())
    pod = vars(set_pod_parser().parse_args([]))
    for executor in flow["executors"]:
        name = executor["name"]
        known = {key: value for key, value in common.items() if key in pod}  # the others are only for the gateway
        _check_node(name, executor, known, texts[f"{name}/{object_name(name)}.yml"], set_pod_parser())


def _check_node(name: str, options: dict[str, Any], common: dict[str, Any], text: str, parser: Any) -> None:
    """Check the options of a node, and those that it inherits from `with`."""
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
    """Return whether two option values are equal: Jina parses some as enums, and a single value as a list."""
    if value is None or value == arrived or [value] == arrived:
        return True
    values, got = (x if isinstance(x, list) else [x] for x in (value, arrived))
    return [str(x).lower() for x in values] == [str(x).lower() for x in got]
