"""int8: a calibration with one's own pictures, kept, found again, and said readably where it cannot be had."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clip_image_flow import ImageEncoder, TextEncoder
from clip_image_flow.backends.openvino import conversion
from clip_image_flow.errors import ConfigError
from clip_image_flow.fingerprint import fingerprint
from clip_image_flow.quantize import LEAST, MOST, _files, quantize, quantize_text
from clip_image_flow.towers import image_tower
from tests.conftest import encoded, photo

PICTURE = encoded(photo())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of just enough pictures, in a folder below, and of a file that is none."""
    folder = tmp_path / "pictures" / "below"
    folder.mkdir(parents=True)
    for seed in range(LEAST):
        (folder / f"{seed:02d}.PNG").write_bytes(encoded(photo(seed=seed)))
    (folder / "notes.txt").write_text("no picture")
    return folder.parent


def test_without_nncf_it_is_said_what_to_do(tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ConfigError, match="a calibration needs NNCF: pip install nncf"):
        quantize(str(tiny_model), [pictures])


def test_the_command_ends_with_one_line(tiny_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "clip_image_flow.quantize", str(tiny_model), "nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr


def test_what_was_calibrated_is_found(tiny_model: Path, tmp_path: Path) -> None:
    """The place and the check of an int8 model, without the calibration: this one is fp32's own."""
    source = image_tower(str(tiny_model), str(tmp_path))
    conversion.keep_int8(source, conversion.fp32_model(source))
    encoder = ImageEncoder(str(tiny_model), precision="int8", cache_dir=str(tmp_path))
    assert encoder.encode([PICTURE]).shape == (1, 32)
    encoder.close()
    assert (encoder.info["backend"], encoder.info["precision"]) == ("openvino", "int8")
    weights = encoder.info["checkpoint"]
    sums = next((tmp_path / "openvino").glob("image-*-int8")) / "SHA256SUMS"
    named = hashlib.sha256(sums.read_bytes()).hexdigest()
    assert encoder.info["fingerprint"] == fingerprint("image", weights, "int8", calibration=named)


def test_a_calibration_of_other_weights_is_not_used(tiny_model: Path, tmp_path: Path) -> None:
    source = image_tower(str(tiny_model), str(tmp_path))
    conversion.keep_int8(source, conversion.fp32_model(source))
    with pytest.raises(ConfigError, match="needs a calibration"):
        ImageEncoder("emoji-tiny", precision="int8", cache_dir=str(tmp_path))


def test_a_calibration_that_cannot_be_kept_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = image_tower(str(tiny_model), str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=f"cannot be kept in {tmp_path}/file/openvino: it must be writable"):
        conversion.keep_int8(source, conversion.fp32_model(source))


def test_pictures_are_found_in_folders(pictures: Path) -> None:
    assert [path.name for path in _files([pictures])] == [f"{seed:02d}.PNG" for seed in range(LEAST)]
    with pytest.raises(ConfigError, match="nowhere is neither a file nor a folder"):
        _files([pictures / "nowhere"])


def test_of_many_pictures_some_are_taken_evenly(tmp_path: Path) -> None:
    for i in range(MOST + 10):
        (tmp_path / f"{i:03d}.jpg").touch()
    names = [int(path.stem) for path in _files([tmp_path])]
    assert names == list(range(0, MOST + 10, 2))


def test_a_calibration(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="an extra")
    cache = str(tmp_path / "cache")
    cosines = quantize(str(tiny_model), [pictures], cache_dir=cache)
    assert cosines.shape == (LEAST // 4,)
    assert 0.98 <= cosines.min() < 0.9999999
    rows = []
    for precision in ("fp32", "int8"):
        encoder = ImageEncoder(str(tiny_model), precision=precision, cache_dir=cache)
        rows.append(encoder.encode([PICTURE])[0])
        encoder.close()
    assert not np.array_equal(*rows)


def test_too_few_pictures_are_an_error(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="an extra")
    one = pictures / "below" / "00.PNG"
    with pytest.raises(ConfigError, match=f"1 pictures can be read; a calibration needs at least {LEAST}"):
        quantize(str(tiny_model), [one], cache_dir=str(tmp_path))


def test_a_calibration_with_texts(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="an extra")
    texts = [
        f"{number} {animal}s in a row" for number in range(2, 10) for animal in ("cat", "dog", "bird", "fish", "ant")
    ]
    cosines = quantize_text(str(tiny_model), texts, cache_dir=str(tmp_path))
    assert cosines.shape == (len(texts) // 4,)
    assert 0.98 <= cosines.min() < 0.9999999
    encoder = TextEncoder(str(tiny_model), precision="int8", cache_dir=str(tmp_path))
    alone = encoder.encode(["a cat"])
    together = encoder.encode(["a cat", "cat " * 100])
    encoder.close()
    assert np.abs(together[0] - alone[0]).max() <= 0.05 * np.abs(alone).max()
    with pytest.raises(ConfigError, match=r"calibration of the image half, once: .* MODEL PICTURES"):
        ImageEncoder(str(tiny_model), precision="int8", cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "give pictures, --texts, or both"), (["--texts", "nowhere.txt"], "nowhere.txt")],
)
def test_the_command_needs_something_to_calibrate_with(tiny_model: Path, arguments: list[str], said: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "clip_image_flow.quantize", str(tiny_model), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode != 0
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
