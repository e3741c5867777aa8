"""Processes that decode: the same pixels, bounds on time and memory, and an end that hurts nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from clip_image_flow import ImageEncoder
from clip_image_flow.errors import BadDocument, ConfigError, RequestError, TakesLonger, TooLarge, UnsupportedMedia
from clip_image_flow.image import pictures
from clip_image_flow.image.decoding.process import DecodingProcess, Options
from clip_image_flow.image.pictures import MOST_SCANS, open_picture
from clip_image_flow.image.preprocess import Square, preprocess
from fuzz.hostile import jpeg_of_many_scans, tiff_of_many_strips, tiff_that_warns, webp_of_an_empty_canvas
from tests.conftest import encoded, photo

SIZE = 64  # pixels
OPTIONS = Options(
    Square(SIZE), max_bytes=20 << 20, max_pixels=50_000_000, at_least=None, exact=True, max_memory=400 << 20
)
LONG = 60.0  # seconds of CPU time, more than anything here takes


class Granted:
    """Grants all memory, and notes how much that was."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    @contextmanager
    def __call__(self, count: int) -> Iterator[bool]:
        self.bytes.append(count)
        yield True


@pytest.fixture
def granted() -> Granted:
    return Granted()


@pytest.fixture
def process(granted: Granted) -> Iterator[DecodingProcess]:
    process = DecodingProcess(OPTIONS, granted)
    yield process
    process.close()


def pid_of(process: DecodingProcess) -> int:
    return process._process.pid


@pytest.mark.parametrize("format", pictures.FORMATS)
def test_the_pixels_are_those_of_decoding_in_this_process(process: DecodingProcess, format: str) -> None:
    data = encoded(photo(300, 200), format)
    with open_picture(data, 50_000_000) as picture:
        expected = preprocess(picture.whole(), Square(SIZE))
    for _ in range(2):  # also after another picture
        assert np.array_equal(process.decode(data, LONG), expected)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"a cat on a mat", UnsupportedMedia),
        (encoded(photo())[:-40], BadDocument),
        (webp_of_an_empty_canvas(), TooLarge),
        (encoded(Image.new("1", (7100, 7100)), "PNG"), TooLarge),
    ],
    ids=["no image", "broken", "too much memory", "too many pixels"],
)
def test_an_error_is_the_same_and_the_process_goes_on(
    process: DecodingProcess, data: bytes, error: type[RequestError]
) -> None:
    with pytest.raises(error):
        process.decode(data, LONG)
    assert process.decode(encoded(photo()), LONG).shape == (SIZE, SIZE, 3)


def slow_jpeg() -> bytes:
    """Half a second of CPU time, within all limits."""
    return jpeg_of_many_scans(MOST_SCANS - 10, side=7000)


def test_a_jpeg_of_more_scans_than_anybody_writes_is_refused_before_it_is_decoded(process: DecodingProcess) -> None:
    with pytest.raises(TooLarge, match=r"a JPEG of 10010 scans; at most 100 are decoded"):
        process.decode(jpeg_of_many_scans(10_000), 0.05)


def test_a_picture_that_takes_more_time_than_it_may_ends_the_process(process: DecodingProcess) -> None:
    process.decode(encoded(photo()), LONG)
    before = psutil.Process(pid_of(process)).cpu_times()
    used = os.times()
    with pytest.raises(TakesLonger):
        process.decode(slow_jpeg(), 0.1)
    assert not process.alive
    now = os.times()
    children = now.children_user + now.children_system - used.children_user - used.children_system
    assert children - before.user - before.system <= 0.1 + 0.1  # counted in hundredths of a second


def test_a_picture_that_takes_more_memory_than_it_says_is_too_large(process: DecodingProcess) -> None:
    process.decode(encoded(photo()), LONG)
    idle = psutil.Process(pid_of(process)).memory_info().rss
    with pytest.raises(TooLarge, match="memory"):
        process.decode(tiff_of_many_strips(), LONG)
    status = Path(f"/proc/{pid_of(process)}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) << 10
    assert peak - idle <= (32 << 20) + 4 * (20 << 20)


def test_what_a_decoder_prints_is_not_in_the_services_log(
    process: DecodingProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    with contextlib.suppress(TakesLonger):
        process.decode(tiff_that_warns(), 0.3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("format", "options", "mode"),
    [
        ("JPEG", {}, "RGB"),
        ("JPEG", {"progressive": True, "subsampling": 0}, "RGB"),
        ("JPEG", {"progressive": True}, "L"),
        ("JPEG", {}, "CMYK"),
        ("PNG", {"compress_level": 1}, "RGB"),
        ("PNG", {"compress_level": 1}, "RGBA"),
        ("PNG", {"compress_level": 1}, "LA"),
        ("PNG", {"compress_level": 1}, "P"),
        ("PNG", {"compress_level": 1}, "I;16"),
        ("WEBP", {"method": 0}, "RGBA"),
        ("WEBP", {"method": 0, "lossless": True}, "RGB"),
        ("GIF", {}, "P"),
        ("AVIF", {"speed": 10, "subsampling": "4:2:0"}, "RGB"),
        ("AVIF", {"speed": 10, "subsampling": "4:4:4"}, "RGBA"),
        ("BMP", {}, "RGB"),
        ("TIFF", {}, "CMYK"),
        ("TIFF", {"compression": "tiff_lzw", "strip_size": 1 << 30}, "RGB"),
        ("TIFF", {"compression": "jpeg"}, "RGB"),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_picture_is_decoded_within_the_memory_that_it_asks_for(
    process: DecodingProcess, granted: Granted, format: str, options: dict[str, Any], mode: str, orientation: int
) -> None:
    width, height = 2400, 1700
    image = Image.linear_gradient("L").resize((width, height))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    else:
        image = image.convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    process.decode(encoded(image, format, **options, **({} if format in ("BMP", "GIF") else {"exif": exif})), LONG)
    [count] = granted.bytes
    assert count <= 20 * width * height + 3 * OPTIONS.max_bytes


def test_memory_is_asked_for_by_what_is_not_small_and_only_then(process: DecodingProcess, granted: Granted) -> None:
    process.decode(encoded(photo(640, 427), "JPEG"), LONG)
    assert granted.bytes == []
    process.decode(encoded(Image.new("RGB", (2000, 1500)), "JPEG"), LONG)
    assert len(granted.bytes) == 1


def test_memory_that_is_not_granted_is_not_used() -> None:
    @contextmanager
    def refuse(_: int) -> Iterator[bool]:
        yield False

    process = DecodingProcess(OPTIONS, refuse)
    with pytest.raises(TakesLonger):
        process.decode(encoded(Image.new("RGB", (2000, 1500)), "JPEG"), LONG)
    assert process.decode(encoded(photo()), LONG).shape == (SIZE, SIZE, 3)
    process.close()


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [(signal.SIGSEGV, BadDocument, "ended by SIGSEGV"), (signal.SIGKILL, TooLarge, "out of memory")],
)
def test_a_decoder_that_dies_is_the_error_of_its_picture(
    process: DecodingProcess, number: signal.Signals, error: type[RequestError], words: str
) -> None:
    process.decode(encoded(photo()), LONG)
    os.kill(pid_of(process), number)
    with pytest.raises(error, match=words):
        process.decode(encoded(photo()), LONG)


def test_shared_memory_does_not_stay_with_a_process_after_a_large_file(process: DecodingProcess) -> None:
    process.decode(encoded(photo()), LONG)
    with pytest.raises(RequestError):
        process.decode(bytes(20 << 20), LONG)
    shared = psutil.Process(pid_of(process)).memory_info().shared
    assert shared <= 20 << 20  # code, and the pages of small files


def test_the_processes_end_with_the_one_that_started_them() -> None:
    program = """
import sys, time
from clip_image_flow.image.decoding.decoders import Decoders
from tests.unit.test_decoding import OPTIONS, Granted
decoders = Decoders(OPTIONS, Granted())
decoders.start(2)
print(*(process._process.pid for process in decoders._idle), flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_an_idle_decoder_takes_no_numpy_and_little_memory(process: DecodingProcess) -> None:
    process.decode(encoded(photo()), LONG)
    decoder = psutil.Process(pid_of(process))
    assert not any("numpy" in mapped.path for mapped in decoder.memory_maps())
    assert decoder.memory_full_info().uss <= 30 << 20


def test_a_side_of_more_pixels_than_a_jpeg_can_have_is_refused() -> None:
    with (
        pytest.raises(TooLarge, match="65536 x 1 pixels; at most 65535 are decoded on a side"),
        open_picture(encoded(Image.new("L", (65_536, 1))), 50_000_000),
    ):
        pass


@pytest.mark.parametrize("value", [0, 61, "2", True, None])
def test_a_bound_on_time_that_makes_no_sense_is_named(make_executor: Callable[..., Any], value: object) -> None:
    with pytest.raises(ConfigError, match=r"max_decode_seconds must be a number from 0\.1 to 60, not "):
        make_executor(max_decode_seconds=value)


def test_a_picture_that_takes_too_long_is_refused_in_words_and_the_next_is_served(tiny_model: Path) -> None:
    encoder = ImageEncoder(str(tiny_model), max_decode_seconds=0.1)
    good = encoded(photo())
    expected = encoder.encode([good])
    futures = encoder.submit([slow_jpeg(), good])
    assert np.array_equal(futures[1].result(30), expected[0])
    with pytest.raises(TooLarge, match=r"takes longer than 0\.1 s of CPU time to decode"):
        futures[0].result(30)
    assert np.array_equal(encoder.encode([good]), expected)
    encoder.close()


def test_a_tensor_needs_no_process_and_a_large_one_waits_among_its_like(encoder: ImageEncoder) -> None:
    large = np.zeros((2400, 2400, 3), np.uint8)
    small = large[:64, :64]
    assert encoder._preparation.is_large(large)
    assert not encoder._preparation.is_large(small)
    assert np.allclose(*encoder.encode([large, small]), atol=1e-5)


def test_close_ends_the_processes(tiny_model: Path) -> None:
    encoder = ImageEncoder(str(tiny_model))
    encoder.encode([encoded(photo()), encoded(Image.new("RGB", (2000, 1500)))])
    mine = [child for child in psutil.Process().children() if "decoding.worker" in " ".join(child.cmdline())]
    encoder.close()
    idle = encoder._preparation._small._idle + encoder._preparation._large._idle
    assert idle == []
    assert mine
