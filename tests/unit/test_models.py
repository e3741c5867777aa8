"""A model from a file in OpenAI's format, and what to do when there is none."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_image_flow import ImageEncoder, models
from clip_image_flow.errors import ConfigError, ModelError
from clip_image_flow.models.openai_clip import clip
from tests.conftest import encoded, photo, save_random_clip


@pytest.fixture(scope="module")
def torchscript(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random CLIP as an archive like those that OpenAI publishes."""
    path = tmp_path_factory.mktemp("torchscript") / "tiny.pt"
    model = clip.load(str(tiny_model), device="cpu")[0]
    torch.jit.trace(model, (torch.zeros(1, 3, 64, 64), clip.tokenize("a cat")), check_trace=False).save(str(path))
    return path


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP with the other of OpenAI's image towers, a ResNet."""
    changes = {"vision_layers": (1, 1, 1, 1), "vision_width": 16, "vision_patch_size": None, "image_resolution": 64}
    return save_random_clip(tmp_path_factory.mktemp("resnet") / "resnet.pt", **changes)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", ["tiny_model", "torchscript", "resnet"])
def test_a_file_gives_the_numbers_of_clip(
    kind: str, request: pytest.FixtureRequest, clip_embeddings: Callable[[Path, list[Image.Image]], np.ndarray]
) -> None:
    path: Path = request.getfixturevalue(kind)
    pictures = [photo(90, 60, seed) for seed in range(3)]
    encoder = ImageEncoder(str(path), backend="torch")
    ours = encoder.encode([encoded(picture) for picture in pictures])
    encoder.close()
    theirs = clip_embeddings(path, pictures)
    assert np.ptp(theirs, axis=0).max() > 1e-4  # the pictures differ for the model too
    assert np.abs(ours - theirs).max() <= 1e-5


def test_what_is_known_of_a_model(tiny_model: Path) -> None:
    model = models.load(str(tiny_model))
    assert (model.name, model.input_size, model.dim) == (str(tiny_model), 64, 32)
    assert {parameter.dtype for parameter in model.visual.parameters()} == {torch.float32}


def test_the_names_are_those_of_clip() -> None:
    assert list(models.OPENAI_NAMES) == clip.available_models()


def test_a_fingerprint_is_that_of_the_weights(tiny_model: Path, tmp_path: Path) -> None:
    other = save_random_clip(tmp_path / "other.pt", seed=1)
    same = tmp_path / "same.pt"
    same.write_bytes(tiny_model.read_bytes())
    of = [models.resolve(str(path)).fingerprint() for path in (tiny_model, same, other)]
    assert of[0] == of[1] != of[2]


@pytest.mark.parametrize("name", models.OPENAI_NAMES)
def test_a_fingerprint_is_that_of_the_file_that_clip_downloads(name: str, tmp_path: Path) -> None:
    assert models.resolve(name, str(tmp_path)).fingerprint() is None
    (tmp_path / clip.clip._MODELS[name].rsplit("/")[-1]).write_bytes(b"weights")
    assert models.resolve(name, str(tmp_path)).fingerprint()


@pytest.mark.parametrize("name", ["missing.pt", "/folder", "what?"])
def test_what_is_not_there_has_no_fingerprint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert models.resolve(name).fingerprint() is None


def test_a_path_may_begin_with_the_home_folder(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_model.parent))
    assert models.load(f"~/{tiny_model.name}").dim == 32


@pytest.mark.skipif(not models.EMBEDDED_FILE.is_file(), reason="a source tree without the embedded weights")
def test_the_embedded_model_needs_nothing_else(tmp_path: Path) -> None:
    model = models.load("emoji-tiny", cache_dir=str(tmp_path / "unused"))
    assert model.name == "emoji-tiny"
    assert model.visual(torch.zeros(1, 3, model.input_size, model.input_size)).shape == (1, model.dim)
    assert not (tmp_path / "unused").exists()


class Intruder:
    """What pickle would run."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, new_format: bool) -> None:
    trap = tmp_path / "executed"
    torch.save({"visual.proj": Intruder(trap)}, tmp_path / "evil.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(ModelError, match=r"evil.pt' holds more than tensors, and such a file could run code"):
        models.load(str(tmp_path / "evil.pt"))
    assert not trap.exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert trap.exists()  # the trap works


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(ModelError, match=r"could run code; save model\.state_dict"):
        models.load(str(tmp_path / "module.pt"))


def parts_of(path: Path, part: float) -> bytes:
    data = path.read_bytes()
    return data[: int(part * len(data))]


@pytest.mark.parametrize(
    "content",
    [
        lambda _: b"",
        lambda _: b"not weights",
        lambda tiny: parts_of(tiny, 0.01),
        lambda tiny: parts_of(tiny, 0.5),
        lambda tiny: parts_of(tiny, 0.999),
        lambda _: encoded(photo()),
        lambda _: b"PK\x03\x04" + bytes(100),
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
    ids=["empty", "text", "1 %", "half", "nearly whole", "a picture", "a broken zip", "a git-lfs pointer"],
)
def test_a_broken_file_is_named(tmp_path: Path, tiny_model: Path, content: Callable[[Path], bytes]) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(content(tiny_model))
    with pytest.raises(ModelError, match=r"model '.*broken.pt' (cannot be read as weights|holds more than tensors)"):
        models.load(str(path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_archive_that_only_looks_like_torchscript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(ModelError, match=r"broken.pt' cannot be read as weights"):
        models.load(str(path))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"weight": torch.zeros(2, 2)},
        {"visual.proj": torch.zeros(2, 2)},
        {"visual.conv1.weight": torch.zeros(64, 3, 16, 16), "visual.proj": torch.zeros(64, 32)},
    ],
    ids=["nothing", "another network", "a key of ours", "two keys of ours"],
)
def test_weights_of_another_architecture_are_named(tmp_path: Path, content: dict[str, torch.Tensor]) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"other.pt' is not CLIP in OpenAI's architecture"):
        models.load(str(tmp_path / "other.pt"))


def test_a_missing_layer_is_named(tmp_path: Path, tiny_model: Path) -> None:
    state = torch.load(tiny_model)
    del state["visual.transformer.resblocks.0.attn.out_proj.weight"]
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="is not CLIP in OpenAI's architecture"):
        models.load(str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    "content",
    [torch.zeros(2), [torch.zeros(2)], {"state_dict": {"visual.proj": torch.zeros(2)}}, {"epoch": 3}],
    ids=["a tensor", "a list", "a training checkpoint", "numbers"],
)
def test_a_file_of_tensors_that_is_no_state_dict_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"other.pt' is not a state dict: save model.state_dict\(\) alone"):
        models.load(str(tmp_path / "other.pt"))


@pytest.mark.parametrize("name", ["missing.pt", "folder/missing.pt", "/folder/missing.pth", "a/b/c", "what?"])
def test_what_is_not_there_is_named_with_what_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as raised:
        models.load(name)
    for known in (repr(name), "emoji-tiny", "ViT-B/32", "openai/clip-vit-base-patch32", "a path"):
        assert known in str(raised.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ViT-B32", "ViT-B/32"),
        ("vit-b-32", "ViT-B/32"),
        ("RN-50", "RN50"),
        ("emoji_tiny", "emoji-tiny"),
        ("ViT-L/14@336", "ViT-L/14@336px"),
        ("openai-clip-vit-large-patch14", "openai/clip-vit-large-patch14"),
    ],
)
def test_a_name_that_is_nearly_right_is_recognised(name: str, meant: str) -> None:
    with pytest.raises(ModelError, match=f"did you mean '{meant}'"):
        models.load(name)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{tmp_path} has no config.json"):
        models.load(str(tmp_path))


def test_a_model_error_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError):
        ImageEncoder("missing.pt")
