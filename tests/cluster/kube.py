"""Controls a kind cluster and its namespaces with `kind`, `helm`, `kubectl` and the kubernetes client."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client, config
from kubernetes.client import ApiException, V1Pod

from scripts.flow.names import topology_file
from scripts.processes import free_ports

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "clip-image-flow"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
_TOPOLOGY = yaml.safe_load(topology_file("clip").read_text(encoding="utf-8"))  # has the images of all Flows
IMAGES = {node["image"].partition(":")[0]: node["image"] for node in (_TOPOLOGY["gateway"], *_TOPOLOGY["executors"])}
TOOLS = ("docker", "kind", "helm", "kubectl")
RELEASE = "clip"
# Small requests, since one node runs several pods of each kind, on a machine with two cores.
SMALL = {
    "gateway": {"replicas": 1, "resources": {"requests": {"cpu": "50m"}}},
    "executorDefaults": {"replicas": 1, "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}}},
}
FIGURES: list[str] = []  # measurements of the tests, shown at the end of a run
T = TypeVar("T")


class CommandFailedError(RuntimeError):
    """A command failed; the text is the command and its output."""


def run(*command: str | Path, timeout: float = 300, stdin: str | None = None, **options: Any) -> str:
    """Run a command; return its standard output.

    :param command: program and arguments.
    :param timeout: timeout in seconds.
    :param stdin: text for standard input.
    :param options: further arguments of `subprocess.run`.
    :raises CommandFailedError: if the exit code is not 0.
    """
    result = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    if result.returncode:
        raise CommandFailedError(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def until(what: str, ask: Callable[[], T], seconds: float = 120, every: float = 0.5) -> T:
    """Call `ask` until it returns a true value; return that value.

    :param what: description of the condition, for the error.
    :param ask: function to call; errors of the Kubernetes API are ignored.
    :param seconds: timeout, in seconds.
    :param every: pause between two calls, in seconds.
    :raises AssertionError: if there is no true value before the timeout.
    """
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ApiException):
            if answer := ask():
                return answer
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(every)


@dataclass
class Cluster:
    """A running cluster with a separate `kubeconfig`, so that no other cluster is changed."""

    name: str
    kubeconfig: Path
    core: client.CoreV1Api = field(init=False)
    apps: client.AppsV1Api = field(init=False)

    def __post_init__(self) -> None:
        api = config.new_client_from_config(str(self.kubeconfig))
        self.core, self.apps = client.CoreV1Api(api), client.AppsV1Api(api)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str | Path, **options: Any) -> str:
        return run("kubectl", *arguments, env=self.environment, **options)

    def workers(self) -> list[str]:
        """Return the names of the nodes that pods may run on."""
        nodes = self.core.list_node().items
        return [n.metadata.name for n in nodes if "node-role.kubernetes.io/control-plane" not in n.metadata.labels]

    @contextlib.contextmanager
    def namespace(self, name: str, level: str = "restricted") -> Iterator[Namespace]:
        """Create a namespace for the context, without what an earlier run left; enforce a Pod Security Standard."""

        def delete() -> None:
            with contextlib.suppress(ApiException):
                self.core.delete_namespace(name, grace_period_seconds=0)

        delete()
        until(f"{name} is gone", lambda: name not in [item.metadata.name for item in self.core.list_namespace().items])
        labels = {"pod-security.kubernetes.io/enforce": level}
        self.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name, labels=labels)))
        try:
            yield Namespace(self, name)
        finally:
            delete()

    def load(self, image: str, *nodes: str) -> None:
        """Load an image into nodes, by default into all workers."""
        names = ",".join(nodes or self.workers())
        run("kind", "load", "docker-image", image, "--name", self.name, "--nodes", names, timeout=600)

    def tag(self, image: str, name: str) -> None:
        """Give an image in the workers another name."""
        for node in self.workers():
            tag = ("ctr", "--namespace", "k8s.io", "images", "tag", "--force", f"docker.io/library/{image}", name)
            run("docker", "exec", node, *tag)


@dataclass
class Namespace:
    """A namespace of the cluster."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str | Path, **options: Any) -> str:
        return self.cluster.kubectl("--namespace", self.name, *arguments, **options)

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def sleepers(self, *names: str) -> None:
        """Start a pod per name, with the label `role: NAME`, to send requests from; wait until all are ready."""
        for name in names:
            container = {"name": name, "image": IMAGES["clip-gateway"], "command": ["sleep", "900"]}
            metadata = {"name": name, "labels": {"role": name}}
            self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
        for name in names:
            self.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s")

    def helm(self, *arguments: str | Path, binary: str = "helm", timeout: float = 420) -> str:
        return run(binary, "--namespace", self.name, *arguments, env=self.cluster.environment, timeout=timeout)

    def install(
        self, *values: dict[str, Any], wait: bool = True, binary: str = "helm", profile: Path | None = None
    ) -> str:
        """Install or upgrade the chart; return Helm's output.

        :param values: values that override those of `profile`; later ones override earlier ones.
        :param wait: whether to wait until the release is ready.
        :param binary: Helm program.
        :param profile: file with values; SMALL by default.
        """
        flags: list[str | Path] = ["--values", profile] if profile else []
        with contextlib.ExitStack() as stack:
            for number, layer in enumerate(values if profile else (SMALL, *values)):
                file = ROOT / ".cache" / f"values-{self.name}-{number}.yaml"
                file.parent.mkdir(exist_ok=True)
                file.write_text(yaml.safe_dump(layer), encoding="utf-8")
                stack.callback(file.unlink)
                flags += ["--values", file]
            waiting = ["--wait", "--timeout", "5m"] if wait else []
            return self.helm("upgrade", "--install", RELEASE, CHART, *flags, *waiting, binary=binary)

    def pods(self, component: str = "") -> list[V1Pod]:
        """Return the pods of the release, or of one of its components, that are not terminating."""
        return [pod for pod in self._pods(component) if pod.metadata.deletion_timestamp is None]

    def _pods(self, component: str) -> list[V1Pod]:
        labels = f"app.kubernetes.io/instance={RELEASE}" + (
            f",app.kubernetes.io/component={component}" * bool(component)
        )
        return list(self.cluster.core.list_namespaced_pod(self.name, label_selector=labels).items)

    def ready(self, component: str) -> list[V1Pod]:
        return [pod for pod in self.pods(component) if is_ready(pod)]

    def wait_settled(self, component: str, count: int, seconds: float = 180) -> list[V1Pod]:
        """Wait until the component has `count` pods, all ready and none terminating; return them."""

        def settled() -> list[V1Pod]:
            pods = self._pods(component)
            leaving = any(pod.metadata.deletion_timestamp for pod in pods)
            return pods if len(pods) == count and all(map(is_ready, pods)) and not leaving else []

        return until(f"{count} pods of {component} ready and none leaving", settled, seconds)

    def rollout(self, component: str, seconds: float = 300) -> None:
        """Wait until the Deployment has rolled out."""
        self.kubectl(
            "rollout", "status", f"deployment/{RELEASE}-{component}", f"--timeout={seconds:g}s", timeout=seconds + 30
        )

    def exec(self, pod: str, *command: str, **options: Any) -> str:
        return self.kubectl("exec", pod, "--", *command, **options)

    def logs(self, pod: str, *flags: str) -> str:
        return self.kubectl("logs", pod, *flags)

    def last_words(self, component: str) -> str:
        """Return the termination messages of the component's containers that ended, without line breaks."""
        statuses = [status for pod in self.pods(component) for status in pod.status.container_statuses or []]
        ended = [status.state.terminated or status.last_state.terminated for status in statuses]
        return " ".join(" ".join((end.message or "").split()) for end in ended if end)

    def events(self, name: str = "") -> list[str]:
        """Return the reasons and messages of events, of one object or of all."""
        events = self.cluster.core.list_namespaced_event(self.name).items
        return [f"{e.reason}: {e.message}" for e in events if not name or e.involved_object.name == name]

    def secret(self, name: str, data: dict[str, bytes], kind: str = "Opaque") -> None:
        coded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": coded})

    def objects(self, kinds: str = "all,configmap,secret,networkpolicy,pdb,hpa,serviceaccount,pvc,ingress") -> set[str]:
        """Return the objects as `kind/name`, without those that Kubernetes creates in every namespace."""
        listed = self.kubectl("get", kinds, "--output", "name").split()
        return {name for name in listed if not re.search(r"kube-root-ca.crt|serviceaccount/default$", name)}

    @contextlib.contextmanager
    def forward(self, target: str, *ports: int) -> Iterator[list[int]]:
        """Forward ports of one pod of `target` during the context; yield the ports on 127.0.0.1."""
        local = free_ports(len(ports))
        pairs = [f"{here}:{there}" for here, there in zip(local, ports, strict=True)]
        command = ["kubectl", "--namespace", self.name, "port-forward", "--address", "127.0.0.1", target, *pairs]
        with subprocess.Popen(
            command, env=self.cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                for port in local:
                    until(f"port-forward to {target}", lambda port=port: _listening(port), 30, 0.1)
                yield local
            finally:
                process.terminate()

    def dump(self, folder: Path) -> None:
        """Write events, descriptions and logs of the namespace to `folder`, to debug a failed test."""
        folder.mkdir(parents=True, exist_ok=True)
        for file, command in {
            "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
            "pods.txt": ("get", "pods", "--output=wide"),
            "describe.txt": ("describe", "deployments,pods,hpa,pvc"),
        }.items():
            with contextlib.suppress(CommandFailedError):
                (folder / file).write_text(self.kubectl(*command), encoding="utf-8")
        for pod in self.cluster.core.list_namespaced_pod(self.name).items:
            for name, flags in {pod.metadata.name: (), f"{pod.metadata.name}.previous": ("--previous",)}.items():
                with contextlib.suppress(CommandFailedError):
                    (folder / f"{name}.log").write_text(self.logs(pod.metadata.name, *flags), encoding="utf-8")


def is_ready(pod: V1Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])


def missing_tools() -> list[str]:
    """Return the missing tools for a cluster; the tests do not download them."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if "docker" not in missing and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        missing.append("a running Docker")
    return missing


def requests_of(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log that are JSON objects."""
    lines = []
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict)]


def _listening(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
