"""Executors that stand for the replicas of a Deployment, and callers of gateways that record which model answered."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests

from scripts import ROOT
from scripts.processes import free_ports, kill
from tests.conftest import photo
from tests.flow.gateways import executor
from tests.flow.test_gateway_routes import uri

PICTURE = photo(60, 60, seed=1)


class Replicas:
    """Executors on ports that stand for the replicas of one Deployment; the executor on a port can be replaced."""

    def __init__(self, kind: str, count: int, folder: Path) -> None:
        self.kind = kind
        self.ports = free_ports(count)
        self._folder = folder
        self._running: dict[int, tuple[contextlib.ExitStack, Any]] = {}
        self._number = itertools.count()

    def start(self, port: int, model: Path, **options: str) -> None:
        name = f"{self.kind}-{next(self._number)}"
        uses = self._folder / f"{name}.yml"
        more = "".join(f", {key}: {value}" for key, value in options.items())
        uses.write_text(
            f"jtype: CLIP{self.kind.capitalize()}Encoder\n"
            f"with: {{pretrained_model_name_or_path: {model}{more}}}\n"
            f"py_modules: [{ROOT / 'executors' / f'clip_{self.kind}' / f'clip_{self.kind}.py'}]\n"
        )
        stack = contextlib.ExitStack()
        process = stack.enter_context(executor(port, self._folder / f"{name}.log", uses))
        self._running[port] = stack, process

    def stop(self, port: int) -> None:
        stack, process = self._running.pop(port)
        kill(process)
        stack.close()

    def close(self) -> None:
        for port in list(self._running):
            self.stop(port)

    def roll_out(self, old: list[int], spare: int, model: Path, **options: str) -> int:
        """Replace the executors one by one, like a Deployment: start a new one, then stop an old one.

        :param old: ports of the executors to replace.
        :param spare: free port for the first new executor.
        :param model: model of the new executors.
        :param options: further options of the new executors.
        :return: port that is free afterwards.
        """
        for port in old:
            self.start(spare, model, **options)
            time.sleep(1)
            self.stop(port)
            spare = port
        time.sleep(3)
        return spare


@dataclass
class Load:
    """Callers of one gateway, each of which sends one request after the other."""

    base: str
    body: dict[str, Any] = field(default_factory=lambda: {"input": [uri(PICTURE)]})
    answers: list[tuple[float, str, list[np.ndarray]]] = field(default_factory=list)
    """Per response: time.monotonic() in seconds, model and fingerprint, vectors."""
    wrong: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self, callers: int) -> None:
        self.threads = [threading.Thread(target=self._call, daemon=True) for _ in range(callers)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(60)

    def _call(self) -> None:
        with requests.Session() as session:
            while not self.ended.is_set():
                try:
                    answer = session.post(f"{self.base}/v1/embeddings", json=self.body, timeout=60)
                except requests.RequestException as error:
                    self.wrong.append(repr(error))
                    continue
                came = time.monotonic()
                if answer.status_code != 200:
                    self.wrong.append(answer.text)
                    continue
                body = answer.json()
                assert answer.headers["X-Model-Fingerprint"] == body["system_fingerprint"]
                vectors = [np.array(one["embedding"], np.float32) for one in body["data"]]
                self.answers.append((came, f"{body['model']} {body['system_fingerprint']}", vectors))
                time.sleep(0.01)

    @property
    def switches(self) -> list[tuple[float, str]]:
        """Times at which the model and fingerprint of responses changed, with the new ones."""
        return [
            (after[0], after[1]) for before, after in itertools.pairwise(sorted(self.answers)) if before[1] != after[1]
        ]


@contextlib.contextmanager
def loads(*bases: str, callers: int = 3, **more: Any) -> Iterator[list[Load]]:
    found = [Load(base, **more) for base in bases]
    for one in found:
        one.start(callers)
    try:
        yield found
    finally:
        for one in found:
            one.stop()


def check_vectors(found: list[Load]) -> None:
    """Check that responses with the same model and fingerprint have equal vectors, and others different ones."""
    vectors: dict[str, list[np.ndarray]] = {}
    for load in found:
        assert len(load.answers) > 100
        for _, kind, own in load.answers:
            for now, known in zip(own, vectors.setdefault(kind, own), strict=True):
                assert now @ known > 1 - 1e-6, kind
    firsts = [own[0] for own in vectors.values()]
    for one, other in itertools.combinations(firsts, 2):
        assert np.abs(one - other).max() > 1e-4
