"""What a caller accepts, and what its body is encoded with: read by the letter of RFC 9110."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable

import pytest

from clip_gateway.http.content_coding import Decoder, coding_of
from clip_gateway.http.negotiation import choose
from clip_gateway.http.server import one_spelling
from clip_gateway.problems import Problem

JSON, NPY = OFFERS = ("application/json", "application/x-npy")

ACCEPT: dict[str, str | None] = {
    "": JSON,
    " , ,": JSON,
    "*/*": JSON,
    "application/*": JSON,
    "application/x-npy": NPY,
    "APPLICATION/X-NPY": NPY,
    "Application/X-Npy; Q=0.3": NPY,
    "application/x-npy;q=0": None,
    "application/x-npy;q=0.000": None,
    "application/x-npy;q=0, */*": JSON,
    "application/x-npy;q=0, application/*;q=0.001": JSON,
    "application/json;q=0, */*;q=0.1": NPY,
    "application/json;q=0.5, application/*;q=0.9, */*;q=0.1": NPY,
    "*/*;q=0.9, application/*;q=0.1, application/json;q=0.2": JSON,
    "application/x-npy;q=0.5, application/json;q=0.5": JSON,
    "application/x-npy, application/json": JSON,
    "application/x-npy, application/json;q=0.999": NPY,
    "application/x-npy, */*;q=0.5": NPY,
    "application/json;q=0.4,application/x-npy;q=0.6": NPY,
    "application/x-npy;q=1.000": NPY,
    "application/x-npy;q=1.": NPY,
    "application/x-npy \t;\tq=0.5": NPY,
    "application/x-npy;;q=0.5;": NPY,
    "application/x-npy;q=0.5;level=1": NPY,
    "text/html": None,
    "text/*, image/png;q=0.5": None,
    "*/*;q=0": None,
    "text/application/x-npy": JSON,  # as all below, until the next: nothing of it is a media range
    "application/x-npyx, text/plain": None,
    "x-npy": JSON,
    "application": JSON,
    "*": JSON,
    "*/json": JSON,
    "application/*npy": JSON,
    "application/x-npy;q=2": JSON,
    "application/x-npy;q=1.001": JSON,
    "application/x-npy;q=-1": JSON,
    "application/x-npy;q=0.1234": JSON,
    "application/x-npy;q=high": JSON,
    "application/x-npy;q=": JSON,
    "application/x-npy;q": JSON,
    "application/x-npy;q = 1": JSON,
    'application/x-npy;q="1"': JSON,
    "application/x-npy;q=0,5": None,  # q=0, and an entry that is none
    "application/x-npy;q=9, application/x-npy;q=0.1, text/html": NPY,
    "=;=, ;, /, application/x-npy": NPY,
    'text/html;title="application/x-npy, application/json;q=1"': None,
    'text/html;title="a\\", application/x-npy': JSON,  # a quoted string that never ends
    'text/html;title="a\\"b", application/x-npy': NPY,
    "application/json;charset=utf-8, application/x-npy;q=0.9": JSON,
    'application/json;charset="UTF-8"': JSON,
    "application/json;version=2;q=0.9, application/json;q=0.2, application/x-npy;q=0.5": NPY,
    "application/json;version=2": JSON,
    "application/json;version=2, application/x-npy;q=0.5": NPY,
    "application/json;version=2;q=0": None,
    "application/json;q=0, application/json;version=2": None,
    "*/*;q=0, application/json;version=2": None,
    "application/json;q=0, application/json": None,
    "application/x-npy;q=0.1, application/x-npy;q=0.9, application/json;q=0.5": NPY,
    # a browser, Java's HttpURLConnection, and axios
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": JSON,
    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2": JSON,
    "application/json, text/plain, */*": JSON,
}


@pytest.mark.parametrize("accept", ACCEPT)
def test_an_answer_has_the_type_that_its_caller_likes_best(accept: str) -> None:
    assert choose([accept], OFFERS) == ACCEPT[accept]


def test_no_accept_is_the_servers_favourite_and_several_lines_are_one_list() -> None:
    assert choose([], OFFERS) == JSON
    assert choose(["text/html", "application/json;q=0.1", "application/x-npy;q=0.2"], OFFERS) == NPY


@pytest.mark.parametrize("evil", ['"', "a/b;c=", '"\\', "\\", ";", ",", 'a/b;c="', "a/b;q=0.1;", '",'])
def test_a_long_accept_takes_no_time(evil: str) -> None:
    began = time.thread_time()
    choose([evil * (60_000 // len(evil))], OFFERS)
    assert time.thread_time() - began < 1  # milliseconds; a pattern that backtracks would take minutes


@pytest.mark.parametrize(
    ("lines", "coding"),
    [
        ([], ""),
        ([""], ""),
        (["identity"], ""),
        ([" Identity ,, identity", ""], ""),
        (["gzip"], "gzip"),
        (["GZIP"], "gzip"),
        (["X-GZip"], "gzip"),
        (["\tdeflate "], "deflate"),
        (["identity, gzip"], "gzip"),
    ],
)
def test_the_coding_of_a_body(lines: list[str], coding: str) -> None:
    assert coding_of(lines) == coding


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["br"], "'br'"),
        (["ZSTD"], "'zstd'"),
        (["compress"], "'compress'"),
        (["x-deflate"], "'x-deflate'"),
        (["gzip, gzip"], "'gzip, gzip'"),
        (["deflate", "x-gzip"], "'deflate, gzip'"),
        (["gzip", "br"], "'gzip, br'"),
        (["gzip;q=1"], "'gzip;q=1'"),
        (["*"], "'*'"),
        (["a" * 5000], "'" + "a" * 100 + "'"),
    ],
)
def test_any_other_coding_is_refused_by_its_name(lines: list[str], named: str) -> None:
    with pytest.raises(Problem) as refusal:
        coding_of(lines)
    assert refusal.value.kind.status == 415
    assert named in refusal.value.detail
    assert refusal.value.headers == {"Accept-Encoding": "gzip, deflate, identity"}


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def named_gzip(data: bytes) -> bytes:
    """With all the fields that a header may have: FEXTRA, FNAME, FCOMMENT and FHCRC."""
    header = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff" + b"\x04\0abcd" + b"a name\0" + b"a comment\0"
    return header + (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") + gzip.compress(data)[10:]


def members(data: bytes) -> bytes:
    return b"".join(gzip.compress(data[i : i + 1000]) for i in range(0, len(data), 1000)) + gzip.compress(b"")


TEXT = bytes(range(256)) * 100 + bytes(50_000)
ENCODE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "stored": ("gzip", lambda data: gzip.compress(data, 0)),
    "header": ("gzip", named_gzip),
    "members": ("gzip", members),
    "zlib": ("deflate", zlib.compress),
    "raw": ("deflate", raw_deflate),
}


def decode(coding: str, body: bytes, block: int = 1 << 16, most: int = 1 << 18) -> bytes:
    decoder, found = Decoder(coding), []
    for start in range(0, len(body), block):
        decoder.give(body[start : start + block])
        while not decoder.hungry:
            found.append(decoder.take(most))
            assert len(found[-1]) <= most
    decoder.finish()
    return b"".join(found)


@pytest.mark.parametrize("data", [TEXT, b"", b"a"], ids=["text", "nothing", "a byte"])
@pytest.mark.parametrize("kind", ENCODE)
@pytest.mark.parametrize(("block", "most"), [(1, 1 << 18), (7, 100), (1 << 16, 1), (1 << 16, 1 << 18), (1 << 20, 999)])
def test_a_body_is_decoded_in_pieces_of_any_size(kind: str, data: bytes, block: int, most: int) -> None:
    coding, encode = ENCODE[kind]
    assert decode(coding, encode(data), block, most) == data


@pytest.mark.parametrize("kind", ["gzip", "zlib", "raw", "members"])
def test_a_body_that_is_cut_off_anywhere_is_refused(kind: str) -> None:
    coding, encode = ENCODE[kind]
    body = encode(b"some text, some text" * 20)
    for length in range(len(body)):
        if kind == "members" and length == len(body) - len(gzip.compress(b"")):
            continue  # between its two members: a whole body of one
        with pytest.raises(Problem) as refusal:
            decode(coding, body[:length], 64)
        assert refusal.value.kind.status == 400


BROKEN: dict[str, tuple[str, bytes]] = {
    "no gzip": ("gzip", b"hello, hello"),
    "a JPEG": ("gzip", b"\xff\xd8\xff\xe0" * 100),
    "zlib as gzip": ("gzip", zlib.compress(TEXT)),
    "gzip as deflate": ("deflate", gzip.compress(TEXT)),
    "no deflate": ("deflate", b"\xff" * 100),
    "checksum": ("gzip", gzip.compress(TEXT)[:-8] + bytes(8)),
    "length": ("gzip", gzip.compress(TEXT)[:-4] + bytes(4)),
    "adler": ("deflate", zlib.compress(TEXT)[:-4] + bytes(4)),
    "zlib header": ("deflate", b"\x78\x00" + zlib.compress(TEXT)[2:]),
    "dictionary": ("deflate", b"\x78\xbb" + bytes(20)),
    "gzip, garbage": ("gzip", gzip.compress(TEXT) + b"garbage"),
    "gzip, zeros": ("gzip", gzip.compress(TEXT) + bytes(512)),
    "gzip, a byte": ("gzip", gzip.compress(TEXT) + b"\x1f"),
    "gzip, zlib": ("gzip", gzip.compress(TEXT) + zlib.compress(TEXT)),
    "zlib, garbage": ("deflate", zlib.compress(TEXT) + b"garbage"),
    "zlib, zlib": ("deflate", zlib.compress(TEXT) + zlib.compress(TEXT)),
    "raw, garbage": ("deflate", raw_deflate(TEXT) + b"\0"),
}


@pytest.mark.parametrize("block", [1, 1000, 1 << 20])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_a_400_that_says_how_to_mend_it(name: str, block: int) -> None:
    coding, body = BROKEN[name]
    with pytest.raises(Problem, match=f"Content-Encoding: {coding}") as refusal:
        decode(coding, body, block)
    assert refusal.value.kind.status == 400


def test_a_bomb_costs_no_more_than_what_is_taken_of_it() -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    decoder = Decoder("gzip")
    decoder.give(bomb)
    began = time.thread_time()
    assert decoder.take(1 << 20) == bytes(1 << 20)
    assert time.thread_time() - began < 0.5
    assert not decoder.hungry


EMPTY_BLOCK = b"\0\0\0\xff\xff"


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(b"") * 1_000_000), ("deflate", EMPTY_BLOCK * 4_000_000)],
    ids=["empty members", "empty blocks"],
)
def test_a_body_that_decodes_to_nothing_takes_no_more_than_half_a_second(coding: str, body: bytes) -> None:
    began = time.thread_time()
    with pytest.raises(Problem) as refusal:
        decode(coding, body)
    assert refusal.value.kind.status in (400, 413)
    assert time.thread_time() - began < 1.5


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/embed", "/embed"),
        ("/embed/", "/embed"),
        ("/embed//", "/embed"),
        ("//embed", "/embed"),
        ("//embed//", "/embed"),
        ("/v1//models///a/b/", "/v1/models/a/b"),
        ("/", "/"),
        ("///", "/"),
        ("", "/"),
        ("*", "*"),
        ("/embed/.", "/embed/."),
        ("/ embed /", "/ embed "),
    ],
)
def test_a_path_has_one_spelling(sent: str, path: str) -> None:
    assert one_spelling(sent) == path
