"""The engines give the numbers of `clip`, within each one's bar, and say which device or precision is not to be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clip_image_flow import backends, models
from clip_image_flow.backends import Backend
from clip_image_flow.backends.openvino.library import openvino  # without its telemetry
from clip_image_flow.backends.torch_backend import TorchBackend
from clip_image_flow.errors import ConfigError
from clip_image_flow.image.preprocess import Square, preprocess
from clip_image_flow.towers import Tower, image_tower
from tests.conftest import photo

CPU_HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
PICTURES = [photo(90, 60, seed) for seed in range(4)]


ENGINES = [("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16")]


def tower(model: Path | str, cache: Path | None = None) -> Tower:
    """The image tower of the model, whose conversions are kept in `cache`."""
    return replace(image_tower(str(model)), cache=cache or models.cache_directory())


def load(
    model: Path | str, name: str = "torch", *, device: str = "cpu", precision: str | None = None, threads: int = 2
) -> Backend:
    return backends.load(name, tower(model), device=device, precision=precision, threads=threads)


def skip_without_bf16(name: str, precision: str) -> None:
    if (name, precision) == ("openvino", "bf16") and not CPU_HAS_BF16:
        pytest.skip("this CPU has no bf16")


def random_batch(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def reference(vit_b_32: Path, clip_embeddings: Callable[[Path, list[Image.Image]], np.ndarray]) -> np.ndarray:
    """What `clip` makes of the pictures, in one batch."""
    return clip_embeddings(vit_b_32, PICTURES)


@pytest.mark.parametrize(
    ("name", "precision", "largest_difference", "smallest_cosine"),
    [
        ("torch", "fp32", 1e-5, 0.9999999),
        ("torch", "bf16", 0.2, 0.999),
        ("openvino", "fp32", 1e-4, 0.99999),
        ("openvino", "bf16", 0.2, 0.999),
    ],
)
def test_parity_with_clip(
    vit_b_32: Path,
    reference: np.ndarray,
    name: str,
    precision: str,
    largest_difference: float,
    smallest_cosine: float,
) -> None:
    skip_without_bf16(name, precision)
    ours = load(vit_b_32, name, precision=precision).encode(
        np.stack([preprocess(picture, Square(224)) for picture in PICTURES])
    )
    assert ours.shape == reference.shape == (4, 512)
    assert ours.dtype == np.float32
    assert np.ptp(reference, axis=0).max() > 1e-2  # the pictures differ for the model too
    assert cosines(ours, reference).min() >= smallest_cosine
    assert np.abs(ours - reference).max() <= largest_difference


@pytest.mark.parametrize(
    ("name", "precision", "smallest_cosine"),
    [("openvino", "fp32", 0.99999), ("openvino", "bf16", 0.999), ("torch", "bf16", 0.999)],
)
def test_parity_with_clip_of_the_embedded_model(
    clip_embeddings: Callable[[Path, list[Image.Image]], np.ndarray], name: str, precision: str, smallest_cosine: float
) -> None:
    skip_without_bf16(name, precision)
    backend = load(models.EMBEDDED, name, precision=precision)
    ours = backend.encode(np.stack([preprocess(picture, Square(backend.item_shape[0])) for picture in PICTURES]))
    assert cosines(ours, clip_embeddings(models.EMBEDDED_FILE, PICTURES)).min() >= smallest_cosine


@pytest.fixture(scope="module", params=["torch", "openvino"])
def tiny(request: pytest.FixtureRequest, tiny_model: Path) -> Backend:
    return load(tiny_model, request.param)


@pytest.mark.parametrize("size", range(1, 9))
def test_fp32_results_do_not_depend_on_the_batch_size(tiny: Backend, size: int) -> None:
    batch = random_batch(8, 64)
    parts = [tiny.encode(batch[start : start + size]) for start in range(0, 8, size)]
    assert np.abs(np.concatenate(parts) - tiny.encode(batch)).max() <= 1e-5


def test_what_is_known_of_the_model(tiny: Backend) -> None:
    assert (tiny.item_shape, tiny.item_dtype, tiny.dim) == ((64, 64, 3), "uint8", 32)


def test_an_answer_is_not_overwritten_by_the_next(tiny: Backend) -> None:
    first = tiny.encode(random_batch(2, 64))
    kept = first.copy()
    tiny.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(("name", "precision"), ENGINES)
def test_embeddings_are_float32_rows(tiny_model: Path, name: str, precision: str) -> None:
    skip_without_bf16(name, precision)
    embeddings = load(tiny_model, name, precision=precision).encode(random_batch(3, 64))
    assert (embeddings.shape, embeddings.dtype) == ((3, 32), np.float32)
    assert np.isfinite(embeddings).all()


def test_a_checkpoint_in_fp16_runs_in_fp32_on_the_cpu(tiny_model: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.pt"
    torch.save({k: v.half() for k, v in torch.load(tiny_model).items()}, half)
    batch = random_batch(2, 64)
    difference = np.abs(load(half).encode(batch) - load(tiny_model).encode(batch)).max()
    assert 0 < difference < 1e-2  # the weights are rounded, the arithmetic is not


@pytest.mark.parametrize("name", ["torch", "openvino"])
@pytest.mark.parametrize(("precision", "expected"), [(None, "fp32"), ("fp32", "fp32"), ("bf16", "bf16")])
def test_the_precision_on_the_cpu(tiny_model: Path, name: str, precision: str | None, expected: str) -> None:
    skip_without_bf16(name, expected)
    backend = load(tiny_model, name, precision=precision)
    assert (backend.name, backend.precision) == (name, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "onnx"}, r"backend must be one of auto, .*torch.*, not 'onnx'"),
        ({"name": ""}, "backend must be one of"),
        ({"precision": "fp16"}, "precision 'fp16' on cpu; allowed are fp32, bf16"),
        ({"precision": "fp64"}, "precision 'fp64' on cpu; allowed are fp32, bf16"),
        ({"device": "gpu"}, "device must be 'cpu', 'cuda' or 'cuda:N', not 'gpu'"),
        ({"device": "cuda:x"}, "device must be .*, not 'cuda:x'"),
        ({"device": "cuda:-1"}, "device must be .*, not 'cuda:-1'"),
        ({"device": "CPU"}, "device must be .*, not 'CPU'"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_what_is_not_to_be_had_is_named_with_what_is(tiny_model: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tiny_model, **options)


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch has CUDA here")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_on_a_build_without_it(tiny_model: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{device}' requested, but this build of torch .* has no CUDA"):
        load(tiny_model, device=device)


@pytest.mark.parametrize(("device", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:10", 2)])
def test_a_cuda_device_that_is_not_there(
    tiny_model: Path, device: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ConfigError, match=f"device '{device}' requested, but torch sees {count} CUDA devices here"):
        load(tiny_model, device=device)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_is_kept_to(tiny_model: Path, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        load(tiny_model, threads=threads)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("model", ["tiny_model", "embedded"])
def test_the_layout_that_gpus_like_changes_no_numbers(
    model: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transformer and a ResNet, with the layout that is taken on CUDA."""
    path = models.EMBEDDED if model == "embedded" else request.getfixturevalue(model)
    plain = load(path)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "contiguous_format", torch.channels_last)
        other = load(path)
        batch = random_batch(3, plain.item_shape[0])
        embeddings = other.encode(batch)
    assert other._layout == torch.channels_last  # type: ignore[attr-defined]
    assert cosines(embeddings, plain.encode(batch)).min() >= 0.9999999


class LittleMemory(nn.Module):
    """A tower that gives each picture its first value, as long as no more than `most` come at once."""

    item_shape, item_dtype, dim, logit_scale, logit_bias = (2, 2, 3), "uint8", 1, 100.0, None
    mixed_precision = False

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.passes: list[int] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(pixels))
        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return pixels[:, 0, 0, :1].float()


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one each time the cache of the device is emptied."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    return calls


@pytest.mark.parametrize(
    ("count", "most", "passes"),
    [(8, 8, [8]), (8, 4, [8, 4, 4]), (7, 4, [7, 3, 4]), (8, 3, [8, 4, 2, 2, 4, 2, 2]), (3, 1, [3, 1, 2, 1, 1])],
)
def test_a_batch_that_memory_cannot_hold_is_halved(
    count: int, most: int, passes: list[int], emptied: list[str]
) -> None:
    visual = LittleMemory(most)
    batch = random_batch(count, 2)
    embeddings = TorchBackend(visual, device="cpu", precision=None, threads=2).encode(batch)
    assert np.array_equal(embeddings[:, 0], batch[:, 0, 0, 0])
    assert visual.passes == passes
    assert len(emptied) == sum(size > most for size in passes)


def test_a_single_picture_that_memory_cannot_hold_is_an_error(emptied: list[str]) -> None:
    visual = LittleMemory(0)
    backend = TorchBackend(visual, device="cpu", precision=None, threads=2)
    with pytest.raises(torch.OutOfMemoryError):
        backend.encode(random_batch(4, 2))
    assert visual.passes == [4, 2, 1]
    assert emptied  # what was freed is not held back from the next request
