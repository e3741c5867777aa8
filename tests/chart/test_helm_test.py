"""The program that `helm test` runs, against a real gateway and Executors: tokens, TLS, words, and what must fail."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_image_flow import ImageEncoder, TextEncoder
from scripts.processes import free_ports
from tests.chart.chart import CHART, ROOT, tool
from tests.flow.gateways import Gateway, executor, gateway

PROGRAM = CHART / "files" / "test"
HOST = "clip.example.com"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the project's Executor of pictures with the embedded model."""
    with with_embedded_model("CLIPImageEncoder", "clip_image", tmp_path_factory.mktemp("encoder")) as port:
        yield port


@contextlib.contextmanager
def with_embedded_model(executor_class: str, module: str, folder: Path) -> Iterator[int]:
    """The port of one of the project's Executors."""
    (port,) = free_ports(1)
    config = folder / "config.yml"
    code = ROOT / "executors" / module / f"{module}.py"
    model = "with:\n  pretrained_model_name_or_path: emoji-tiny\n"
    config.write_text(f"jtype: {executor_class}\n{model}py_modules: [{code}]\n", encoding="utf-8")
    with executor(port, config.with_name("log"), config):
        yield port


@pytest.fixture(scope="module")
def plain(encoder: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that lets everybody in."""
    with gateway({"encoder": encoder}, tmp_path_factory.mktemp("plain") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def of_words(encoder: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same before an Executor of texts as well."""
    folder = tmp_path_factory.mktemp("words")
    with (
        with_embedded_model("CLIPTextEncoder", "clip_text", folder) as text,
        gateway({"encoder": encoder, "text": text}, folder / "gateway.log") as running,
    ):
        yield running


@pytest.fixture(scope="module")
def guarded(encoder: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, dict[str, str]]]:
    """A gateway with tokens and TLS, and what the Job mounts: the tokens, the certificate without its issuer."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = folder / "tokens"
    tokens.write_text("# two, so that they can be rotated\nfirst-token\nsecond-token\n", encoding="utf-8")
    certificate, key = certificate_of_another_name(folder)
    settings = {"tokens_file": str(tokens), "tls_certificate_file": str(certificate), "tls_key_file": str(key)}
    with gateway({"encoder": encoder}, folder / "log", settings) as running:
        yield running, {"TOKENS_FILE": str(tokens), "CERTIFICATE_FILE": str(certificate)}


def certificate_of_another_name(folder: Path) -> tuple[Path, Path]:
    """A certificate for the public name, from an authority that the Job has never heard of, and its key."""
    ca, ca_key, key, request, certificate, names = (folder / n for n in ("ca", "cakey", "key", "csr", "crt", "names"))
    names.write_text(f"subjectAltName=DNS:{HOST}\n", encoding="utf-8")
    openssl = tool("openssl")
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    for arguments in (
        (*new, "-x509", "-days", "1", "-subj", "/CN=ca", "-keyout", ca_key, "-out", ca),
        (*new, "-subj", f"/CN={HOST}", "-keyout", key, "-out", request),
        (
            "x509",
            "-req",
            "-days",
            "1",
            "-in",
            request,
            "-CA",
            ca,
            "-CAkey",
            ca_key,
            "-extfile",
            names,
            "-out",
            certificate,
        ),
    ):
        subprocess.run([openssl, *map(str, arguments)], check=True, capture_output=True, timeout=60)
    return certificate, key


def run(running: Gateway, program: Path = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program, as the Job runs it, with little patience."""
    told = {
        "HTTP_ADDRESS": f"127.0.0.1:{running.http_port}",
        "GRPC_ADDRESS": f"127.0.0.1:{running.grpc_port}",
        "MODEL": "emoji-tiny",
        "TIMEOUT_SECONDS": "0",
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-W", "ignore", str(program / "encode.py")]
    return subprocess.run(command, env={**told, **environment}, capture_output=True, text=True, timeout=60, check=False)


def with_expectation(folder: Path, **changes: Any) -> Path:
    """A copy of the program that expects something else."""
    shutil.copytree(PROGRAM, folder / "test")
    file = folder / "test" / "expected.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
    return folder / "test"


def test_a_release_with_the_embedded_model_passes(plain: Gateway) -> None:
    done = run(plain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: ") == 3, "HTTP, HTTP again, gRPC"


@pytest.mark.parametrize("model", ["emoji-tiny", "ViT-B/32"], ids=["stored", "repeated"])
def test_a_release_for_words_and_pictures_is_asked_for_both(model: str, of_words: Gateway) -> None:
    done = run(of_words, MODEL=model)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [f"ok: {how}, {kind}:" for how in ("HTTP", "HTTP again", "gRPC") for kind in ("picture", "word")]
    assert [line for line in asked if line not in done.stdout] == []


def test_another_embedding_of_the_word_fails(of_words: Gateway, tmp_path: Path) -> None:
    stored = json.loads((PROGRAM / "expected.json").read_text(encoding="utf-8"))["word_embedding"]
    done = run(of_words, with_expectation(tmp_path, word_embedding=[-x for x in stored]))
    assert done.returncode != 0
    assert "HTTP, word: cosine -" in done.stderr


def test_another_model_passes_when_it_repeats_itself(plain: Gateway) -> None:
    done = run(plain, MODEL="ViT-B/32")
    assert done.returncode == 0, done.stdout + done.stderr


def test_tokens_and_tls_are_used(guarded: tuple[Gateway, dict[str, str]]) -> None:
    done = run(guarded[0], **guarded[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: gRPC" in done.stdout


def test_a_token_that_is_not_accepted_fails(guarded: tuple[Gateway, dict[str, str]], tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("wrong\n", encoding="utf-8")
    done = run(guarded[0], **{**guarded[1], "TOKENS_FILE": str(tokens)})
    assert done.returncode != 0
    assert "HTTP 401" in done.stderr


def test_another_certificate_fails(guarded: tuple[Gateway, dict[str, str]], tmp_path: Path) -> None:
    other, _ = certificate_of_another_name(tmp_path)
    done = run(guarded[0], **{**guarded[1], "CERTIFICATE_FILE": str(other)})
    assert done.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


def test_other_numbers_fail(plain: Gateway, tmp_path: Path) -> None:
    stored = json.loads((PROGRAM / "expected.json").read_text(encoding="utf-8"))["embedding"]
    done = run(plain, with_expectation(tmp_path, embedding=[-x for x in stored]))
    assert done.returncode != 0
    assert "cosine -1.0000" in done.stderr or "cosine -0.9999" in done.stderr


def test_another_dimension_fails(plain: Gateway, tmp_path: Path) -> None:
    done = run(plain, with_expectation(tmp_path, embedding=[1.0, 2.0]))
    assert done.returncode != 0
    assert "dimension 128, expected 2" in done.stderr


def test_nobody_there_fails_after_the_patience_is_over() -> None:
    grpc_port, http_port = free_ports(2)
    gone = Gateway(grpc_port, http_port, Path(os.devnull), None)  # type: ignore[arg-type]
    done = run(gone, TIMEOUT_SECONDS="1")
    assert done.returncode != 0
    assert "waiting: HTTP" in done.stdout


class Sidecar(http.server.BaseHTTPRequestHandler):
    """What the proxies of a service mesh do when a pod's own work is done."""

    def do_POST(self) -> None:
        self.server.told.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Be silent."""


@pytest.mark.parametrize("passes", [True, False])
def test_a_sidecar_is_told_when_the_test_has_ended(passes: bool, plain: Gateway, tmp_path: Path) -> None:
    """Whatever came of it: the pod would run on until its deadline."""
    shutil.copytree(PROGRAM, tmp_path / "test")
    server = http.server.HTTPServer(("127.0.0.1", 0), Sidecar)
    server.told = []  # type: ignore[attr-defined]
    file = tmp_path / "test" / "encode.py"
    text = file.read_text(encoding="utf-8")
    assert ":15020/" in text
    file.write_text(text.replace(":15020/", f":{server.server_port}/"), encoding="utf-8")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = run(plain, tmp_path / "test", **({} if passes else {"HTTP_ADDRESS": "127.0.0.1:9"}))
    server.shutdown()
    server.server_close()
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
    assert server.told == ["/quitquitquit"]  # type: ignore[attr-defined]


def test_the_stored_vectors_are_the_models() -> None:
    expected = json.loads((PROGRAM / "expected.json").read_text(encoding="utf-8"))
    encoder = ImageEncoder(expected["model"], backend="torch")
    (embedding,) = encoder.encode([(PROGRAM / "picture.png").read_bytes()], batch_size=1)
    encoder.close()
    np.testing.assert_allclose(embedding, expected["embedding"], rtol=0, atol=2e-5)
    text_encoder = TextEncoder(expected["model"], backend="torch")
    (embedding,) = text_encoder.encode([expected["word"]])
    text_encoder.close()
    np.testing.assert_allclose(embedding, expected["word_embedding"], rtol=0, atol=2e-5)
