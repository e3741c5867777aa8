"""The demo ends well when all is right, and fails when a result is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import ROOT
from scripts.demo import contact_sheet, story
from scripts.demo.checks import CheckFailed, check_agreement, check_embeddings, check_search
from scripts.demo.contact_sheet import Match, Ranking
from scripts.demo.encode import ALBUM, requests
from scripts.demo.pictures import QUERIES, held_out, photographs
from scripts.demo.show import rank

DIM = 8
SHAPES = {"cat.jpg": (DIM,), "album": (2, DIM)}


def embeddings() -> dict[str, np.ndarray]:
    values = np.random.default_rng(0)
    return {document: values.normal(size=shape).astype(np.float32) for document, shape in SHAPES.items()}


def test_demo(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "scripts.demo", "--output", str(tmp_path / "demo.png")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for said in (
        "china.jpg",
        "(128,)",
        "album",
        "(16, 128)",
        "queries",
        "8 texts",
        "the Flow is clip, pictures",
        "the Flow is clip, words",
        "curl --data-binary",
        "make serve",
        *QUERIES,
    ):
        assert said in result.stdout
    assert "Warning" not in result.stdout + result.stderr
    with Image.open(tmp_path / "demo.png") as sheet:
        assert sheet.size == contact_sheet.size(len(QUERIES))
    assert not list(tmp_path.glob("clip-image-flow-demo-*")), "what the demo made beside its sheet is left behind"


def test_right_embeddings_pass() -> None:
    right = embeddings()
    assert list(check_embeddings(right, SHAPES)) == list(SHAPES)
    nearly = {document: values * np.float32(1 + 1e-6) for document, values in right.items()}
    agreement = check_agreement("a and b", nearly, right)
    assert agreement.cosine == pytest.approx(1)
    assert 0 < agreement.deviation < 1e-5


Spoil = Callable[[dict[str, np.ndarray]], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "shape": (
        lambda e: e.update({"cat.jpg": e["cat.jpg"][np.newaxis]}),
        r"'cat.jpg' has the shape \(1, 8\), not \(8,\)",
    ),
    "rows": (lambda e: e.update(album=e["album"][:1]), r"'album' has the shape \(1, 8\), not \(2, 8\)"),
    "dtype": (lambda e: e.update(album=e["album"].astype(np.float64)), "'album' has the dtype float64"),
    "nan": (lambda e: e["album"].__setitem__((1, 3), np.nan), "'album' has values that are not finite"),
    "infinite": (lambda e: e["cat.jpg"].__setitem__(0, np.inf), "'cat.jpg' has values that are not finite"),
    "zeros": (lambda e: e["album"].__setitem__(1, 0), "'album' has an embedding of zeros"),
    "none": (lambda e: e.update({"cat.jpg": None}), "'cat.jpg' came back without an embedding"),
    "lost": (lambda e: e.pop("album"), "of 2 documents 1 came back"),
    "order": (lambda e: e.update({"cat.jpg": e.pop("cat.jpg")}), "in another order"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILT.values(), ids=SPOILT)
def test_wrong_embeddings_fail(spoil: Spoil, message: str) -> None:
    wrong = embeddings()
    spoil(wrong)
    with pytest.raises(CheckFailed, match=message):
        check_embeddings(wrong, SHAPES)


DIFFERENT: dict[str, Spoil] = {
    "one value": lambda e: e["album"].__setitem__((1, 3), e["album"][1, 3] + 0.01),
    "all a little": lambda e: e.update({"cat.jpg": e["cat.jpg"] * np.float32(1.001)}),
    "rows swapped": lambda e: e.update(album=e["album"][::-1]),
    "a row less": lambda e: e.update(album=e["album"][:1]),
    "nan": lambda e: e["cat.jpg"].__setitem__(0, np.nan),
}


@pytest.mark.parametrize("spoil", DIFFERENT.values(), ids=DIFFERENT)
@pytest.mark.parametrize("what", ["gRPC and HTTP", "the Flow and clip"])
def test_differing_embeddings_fail(spoil: Spoil, what: str) -> None:
    wrong = embeddings()
    spoil(wrong)
    with pytest.raises(CheckFailed, match=f"{what}: document '(album|cat.jpg)'"):
        check_agreement(what, wrong, embeddings())


def test_search_passes_where_words_find_pictures() -> None:
    values = np.random.default_rng(0)
    pictures = values.normal(size=(48, 32))
    assert check_search(pictures, pictures + 0.5 * values.normal(size=pictures.shape)) > 0.9


NOTHING_FOUND = {
    "by chance": (np.random.default_rng(1).normal(size=(48, 32)), np.random.default_rng(2).normal(size=(48, 32))),
    "all alike": (np.ones((48, 32)), np.ones((48, 32))),
    "nan": (np.full((48, 32), np.nan), np.ones((48, 32))),
}


@pytest.mark.parametrize(("pictures", "texts"), NOTHING_FOUND.values(), ids=NOTHING_FOUND)
def test_search_fails_where_words_find_nothing(pictures: np.ndarray, texts: np.ndarray) -> None:
    with pytest.raises(CheckFailed, match="find their picture among the first 5"):
        check_search(pictures, texts)


def test_a_failed_check_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(output: Path, log: Path) -> None:
        log.write_text("first line\nlast line\n")
        raise CheckFailed("the numbers are wrong")

    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.setattr(story, "tell_story", fail)
    assert story.main() == 1
    error = capsys.readouterr().err
    assert "demo failed: the numbers are wrong" in error
    assert "last line" in error
    log = next(Path(word.rstrip(",")) for word in error.split() if word.endswith(".log,"))
    assert log.is_file()
    log.unlink()


def test_documents() -> None:
    work = requests(photographs(), held_out())
    ids = [document.id for request in work for document in request.documents]
    assert len(ids) == len(set(ids)) == len(photographs()) + 1 + len(held_out())
    album = next(request for request in work if request.name == ALBUM)
    assert album.shapes(DIM) == {ALBUM: (len(photographs()), DIM)}
    assert sum(chunk.modality != "image" for chunk in album.documents[0].chunks) == 1


def test_queries_name_pictures() -> None:
    names = {picture.name for picture in held_out()}
    assert all(right and right <= names for right in QUERIES.values())


def test_ranking_is_by_cosine() -> None:
    pictures = held_out()[:3]
    vectors = np.array([[1.0, 0.0], [0.0, 9.0], [1.0, 1.0]])
    (ranking,) = rank(pictures, vectors, {"a query": {pictures[2].name}}, np.array([[2.0, 0.0]]))
    assert [match.picture for match in ranking.matches] == [pictures[i].path for i in (0, 2, 1)]
    assert [match.cosine for match in ranking.matches] == pytest.approx([1, 0.5**0.5, 0])
    assert [match.right for match in ranking.matches] == [False, True, False]


@pytest.mark.parametrize("rankings", [1, 2, 3, 8])
def test_contact_sheet(rankings: int) -> None:
    matches = [Match(picture.path, 0.5 - i / 20, i == 1) for i, picture in enumerate(held_out()[:7])]
    queries = ["short", "a query that is much longer than a panel of the sheet is wide, and so is cut short" * 3]
    sheet = contact_sheet.draw("Title", "subtitle", [Ranking(queries[i % 2], matches) for i in range(rankings)], "end")
    assert (sheet.mode, sheet.size) == ("RGB", contact_sheet.size(rankings))
    pixels = np.asarray(sheet).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 1000, "pictures have many colours"
    assert pixels.mean() > 200, "the sheet is light"
    assert (pixels == (39, 166, 107)).all(axis=1).sum() > 100 * rankings, "right answers are ticked"
