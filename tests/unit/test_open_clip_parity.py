"""Each family of OpenCLIP's: the vectors of `open_clip` itself, from the file and the text on, on both engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clip_image_flow import ImageEncoder, TextEncoder
from clip_image_flow.backends.openvino.library import openvino
from tests.conftest import encoded, photo
from tests.unit.open_clip_checkpoints import FAMILIES, Reference, save_checkpoint
from tests.unit.tokenizer_folders import save_gemma

PICTURES = [photo(90, 60), photo(60, 150, seed=1), photo(64, 64, seed=2)]
TEXTS = ["a cat", "A photo of TWO dogs, in the snow!", "", "ﬁne &amp; dandy  –  42", "word " * 90]
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Family:
    """A checkpoint, and what `open_clip` makes of the pictures and texts."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = save_checkpoint(folder, *FAMILIES[name])
        if name == "SigLIP 2":
            save_gemma(folder)
        reference = Reference(folder)
        self.images, self.texts = reference.images(PICTURES), reference.texts(TEXTS)

    def ours(self, kind: type[ImageEncoder] | type[TextEncoder], **options: str) -> np.ndarray:
        encoder = kind(str(self.folder), cache_dir=str(self.folder / "cache"), **options)
        contents = [encoded(picture) for picture in PICTURES] if kind is ImageEncoder else TEXTS
        try:
            return encoder.encode(contents)
        finally:
            encoder.close()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return Family(tmp_path_factory.mktemp("family"), request.param)


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, in parts of the largest element."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert np.linalg.norm(theirs - theirs.mean(axis=0)) > 1e-3  # items differ
    return float(((ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)).min())


def test_torch_has_the_numbers_of_open_clip(family: Family) -> None:
    assert relative(family.ours(ImageEncoder, backend="torch"), family.images) <= 1e-4
    assert relative(family.ours(TextEncoder, backend="torch"), family.texts) <= 1e-4


def test_openvino_has_them_in_fp32(family: Family) -> None:
    assert cosine(family.ours(ImageEncoder, backend="openvino"), family.images) >= 0.99999
    assert cosine(family.ours(TextEncoder, backend="openvino"), family.texts) >= 0.99999


@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
def test_openvino_is_near_in_bf16(family: Family) -> None:
    assert cosine(family.ours(ImageEncoder, backend="openvino", precision="bf16"), family.images) >= 0.999
    assert cosine(family.ours(TextEncoder, backend="openvino", precision="bf16"), family.texts) >= 0.999
