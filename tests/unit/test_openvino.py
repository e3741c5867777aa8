"""OpenVINO: who takes it, what is kept of it on disk, and that it tells nobody."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from clip_image_flow import ImageEncoder, backends
from clip_image_flow.backends import Backend
from clip_image_flow.backends.openvino.cache import ConvertedModels
from clip_image_flow.errors import ConfigError
from tests.conftest import encoded, photo, save_random_clip
from tests.unit.test_backends import load, random_batch, skip_without_bf16, tower

PICTURE = encoded(photo())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def load_kept(model: Path, cache: Path, name: str = "openvino", precision: str | None = None) -> Backend:
    """The backend whose conversions are kept in `cache`."""
    return backends.load(name, tower(model, cache), device="cpu", precision=precision, threads=2)


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "openvino").iterdir())


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "openvino", None)
    modules = [f"clip_image_flow.backends.openvino.{name}" for name in ("backend", "conversion", "library")]
    for module in modules:
        monkeypatch.delitem(sys.modules, module, raising=False)
    yield
    for module in modules:
        sys.modules.pop(module, None)


def test_auto_is_openvino_on_the_cpu(tiny_model: Path) -> None:
    assert load(tiny_model, "auto").name == "openvino"


def test_auto_without_openvino_is_torch_and_one_line_says_why(
    tiny_model: Path, without_openvino: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(tiny_model, "auto").name == "torch"
    [record] = caplog.records
    assert "falling back to torch, which is slower: OpenVINO cannot be used here: " in record.message
    assert "openvino" in record.message
    assert "\n" not in record.message


def test_auto_is_torch_where_openvino_fails(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Exception from src/core.cpp:\nno such operation")

    monkeypatch.setattr("openvino.convert_model", fail)
    cold = save_random_clip(tiny_model.parent / "cold.pt", seed=7)
    assert load(cold, "auto").name == "torch"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_openvino_asked_for_and_not_there_is_an_error(tiny_model: Path, without_openvino: None) -> None:
    with pytest.raises(ConfigError, match=r"backend 'openvino' cannot be used here: .*openvino"):
        load(tiny_model, "openvino")


@pytest.mark.parametrize("backend", ["auto", "openvino"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, "openvino has no precision 'fp16' on this CPU; allowed are fp32, .*int8"),
        ({"precision": "int8"}, r"'int8' needs a calibration .* python -m clip_image_flow.quantize MODEL PICTURES"),
    ],
)
def test_a_precision_that_is_not_to_be_had_is_an_error(
    tiny_model: Path, backend: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tiny_model, backend, **options)


def test_bf16_on_a_cpu_without_it_is_an_error(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openvino.Core.get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(ConfigError, match="no precision 'bf16' on this CPU; allowed are fp32, int8"):
        load(tiny_model, "auto", precision="bf16")


def test_openvino_is_for_the_cpu(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="'openvino' runs on the device 'cpu', not on 'cuda'"):
        load(tiny_model, "openvino", device="cuda")


def test_a_model_is_converted_once(tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_kept(tiny_model, cache)
    monkeypatch.setattr("openvino.convert_model", None)
    second = load_kept(tiny_model, cache)
    batch = random_batch(3, 64)
    assert np.array_equal(first.encode(batch), second.encode(batch))
    assert len(kept(cache)) == 1


def test_other_weights_are_converted_anew(tmp_path: Path, cache: Path) -> None:
    path = save_random_clip(tmp_path / "model.pt", seed=1)
    first = load_kept(path, cache).encode(random_batch(2, 64))
    save_random_clip(path, seed=2)
    assert np.abs(load_kept(path, cache).encode(random_batch(2, 64)) - first).max() > 1e-3
    assert len(kept(cache)) == 2


def test_one_conversion_serves_fp32_and_bf16(tiny_model: Path, cache: Path) -> None:
    for precision in ("fp32", "bf16"):
        skip_without_bf16("openvino", precision)
        load_kept(tiny_model, cache, precision=precision)
    assert len(kept(cache)) == 1


def test_a_broken_conversion_is_not_used_but_made_again(
    tiny_model: Path, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_kept(tiny_model, cache).encode(random_batch(2, 64))
    [folder] = kept(cache)
    with (folder / "model.bin").open("r+b") as weights:
        weights.truncate(1000)
    assert np.array_equal(load_kept(tiny_model, cache).encode(random_batch(2, 64)), expected)
    assert f"the converted model in {folder} is broken and is not used" in caplog.text
    monkeypatch.setattr("openvino.convert_model", None)
    load_kept(tiny_model, cache)  # it was mended


def write_two_files(folder: Path) -> None:
    (folder / "model.xml").write_text("<net/>")
    (folder / "model.bin").write_bytes(bytes(100))


@pytest.mark.parametrize("file", ["model.xml", "model.bin", "SHA256SUMS"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-3]),
        lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
    ],
    ids=["missing", "empty", "cut", "one bit"],
)
def test_what_is_broken_is_not_found(tmp_path: Path, file: str, harm: Callable[[Path], None]) -> None:
    converted = ConvertedModels(tmp_path)
    assert converted.keep("name", write_two_files) == converted.find("name") == tmp_path / "name"
    harm(tmp_path / "name" / file)
    assert converted.find("name") is None
    assert converted.keep("name", write_two_files) == converted.find("name") == tmp_path / "name"


def test_a_cache_that_cannot_be_written_does_no_harm(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # a folder below it cannot be made, not even by root
    backend = load_kept(tiny_model, tmp_path / "file")
    kept, batch = load(tiny_model, "openvino"), random_batch(2, 64)
    assert np.abs(backend.encode(batch) - kept.encode(batch)).max() <= 1e-5  # a file that is read is optimised again


def test_what_could_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "model.xml").write_text("half")
        raise OSError(28, "No space left on device")

    assert ConvertedModels(tmp_path).keep("name", write) is None
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_convert_at_once_each_finds_a_whole_one(tmp_path: Path) -> None:
    converted = ConvertedModels(tmp_path)

    def while_another_writes_too(folder: Path) -> None:
        assert converted.keep("name", write_two_files)
        write_two_files(folder)

    assert converted.keep("name", while_another_writes_too) == tmp_path / "name"
    assert converted.find("name") == tmp_path / "name"
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_the_kept_files_have_the_checksums_that_sha256sum_reads(tiny_model: Path, cache: Path) -> None:
    load_kept(tiny_model, cache)
    [folder] = kept(cache)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True, timeout=60)
    assert {path.name for path in folder.iterdir()} == {"model.xml", "model.bin", "SHA256SUMS"}


PROGRAM = """
import socket, sys
modules = set(sys.modules)
touched = []
def watch(event, args):
    if event.startswith("socket."):
        touched.append(f"{event} {args}")
sys.addaudithook(watch)
from clip_image_flow import ImageEncoder, TextEncoder
for kind, item in ((ImageEncoder, open(sys.argv[2], "rb").read()), (TextEncoder, "a cat")):
    encoder = kind(sys.argv[1], backend="openvino")
    encoder.encode([item])
    encoder.close()
print(touched)
print([name for name in ("torch", "clip", "openvino_telemetry") if sys.modules.get(name)])
"""


def run_fresh(tiny_model: Path, tmp_path: Path) -> tuple[str, str]:
    """(sockets, heavy modules) of a process with a home and a cache of its own that encodes a picture and a text."""
    picture, home = tmp_path / "picture.png", tmp_path / "home"
    picture.write_bytes(PICTURE)
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "CLIP_CACHE": str(tmp_path / "cache"), "CI": ""}
    environment.pop("CI")  # in which OpenVINO's telemetry would be off by itself
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tiny_model), str(picture)],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    ).stdout.splitlines()  # fmt: skip
    return output[0], output[1]


def test_nothing_leaves_the_machine_and_nothing_is_written_to_the_home(tiny_model: Path, tmp_path: Path) -> None:
    sockets, modules = run_fresh(tiny_model, tmp_path)
    assert sockets == "[]"
    assert "openvino_telemetry" not in modules
    assert list((tmp_path / "home").iterdir()) == []


def test_the_second_start_needs_no_torch(tiny_model: Path, tmp_path: Path) -> None:
    assert "torch" in run_fresh(tiny_model, tmp_path)[1]
    assert run_fresh(tiny_model, tmp_path)[1] == "[]"


def test_an_encoder_says_what_it_runs_on(tiny_model: Path) -> None:
    encoder = ImageEncoder(str(tiny_model))
    assert encoder.encode([PICTURE]).shape == (1, 32)
    encoder.close()
    assert (encoder.info["backend"], encoder.info["precision"]) == ("openvino", "fp32")
