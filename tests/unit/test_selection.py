"""Which images a request asks for, and where their embeddings go."""

# No `from __future__ import annotations` here: docarray's dataclass reads the annotations of its fields.

from typing import Any

import numpy as np
import pytest
from docarray import Document, DocumentArray, dataclass
from docarray.score import NamedScore
from docarray.typing import Image, Text

from clip_image_flow.errors import BadDocument, BadParameter, TooLarge
from clip_image_flow.serving.selection import Selection, select_images

PIXELS = np.zeros((2, 3, 3), dtype=np.uint8)
DIM = 4


@dataclass
class Page:
    title: Text
    photo: Image
    cover: Image


def picture(id: str, **fields: Any) -> Document:
    return Document(id=id, blob=id.encode(), **fields)


def image_chunk(id: str, **fields: Any) -> Document:
    return picture(id, modality="image", **fields)


def album() -> DocumentArray:
    """Two documents with chunks, two levels of them, and one picture without."""
    inner = [image_chunk("aa0"), image_chunk("aa1")]
    first = Document(id="a", chunks=[image_chunk("a0", chunks=inner), Document(id="a1", text="x"), image_chunk("a2")])
    second = Document(id="b", chunks=[image_chunk("b0")])
    return DocumentArray([first, second, picture("c")])


def reached(docs: DocumentArray, path: str = "@r") -> list[tuple[str, str, bytes]]:
    return [(image.document_id, image.place, image.content) for image in select_images(docs, path, 100).items]


def rows(selection: Selection) -> list[np.ndarray]:
    """A result for each image that says which it is: its number, DIM times."""
    return [np.full(DIM, number, dtype=np.float32) for number in range(len(selection.items))]


def encode(docs: DocumentArray, path: str = "@r") -> DocumentArray:
    selection = select_images(docs, path, 100)
    selection.write(rows(selection))
    return docs


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("@r", [("a", "chunk 0", b"a0"), ("a", "chunk 2", b"a2"), ("b", "chunk 0", b"b0"), ("c", "", b"c")]),
        ("@c", [("a0", "chunk 0", b"aa0"), ("a0", "chunk 1", b"aa1"), ("a2", "", b"a2"), ("b0", "", b"b0")]),
        ("@cc", [("aa0", "", b"aa0"), ("aa1", "", b"aa1")]),
        ("@c[:1]", [("a0", "chunk 0", b"aa0"), ("a0", "chunk 1", b"aa1"), ("b0", "", b"b0")]),
        ("@c[1:]", [("a2", "", b"a2")]),
        ("@r[2]", [("c", "", b"c")]),
        ("@r[:1]c[2:]", [("a2", "", b"a2")]),
        ("@r[9]", []),
        ("@m", []),
    ],
)
def test_a_path_reaches_its_documents_in_order(path: str, expected: list[tuple[str, str, bytes]]) -> None:
    assert reached(album(), path) == expected


def test_matches_are_reached_by_m() -> None:
    docs = DocumentArray([Document(matches=[picture("hit")])])
    assert reached(docs, "@m") == [("hit", "", b"hit")]


def test_an_image_that_two_paths_reach_is_encoded_once() -> None:
    selection = select_images(album(), "@r,c", 100)
    # a0 is a row of a and, having image chunks, a document of its own; a2 and b0 serve two documents each.
    contents = [image.content for image in selection.items]
    assert contents == [b"a0", b"a2", b"b0", b"c", b"aa0", b"aa1"]


def test_an_image_that_two_paths_reach_answers_both_documents() -> None:
    docs = encode(album(), "@r,c")
    assert docs[1].embedding.tolist() == [[2] * DIM]
    assert docs[1].chunks[0].embedding.tolist() == [2] * DIM


def test_a_document_that_two_paths_reach_is_encoded_once() -> None:
    assert reached(DocumentArray([picture("a")]), "@r,r,r[:]") == [("a", "", b"a")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("@r", [("page", "chunk 1"), ("page", "chunk 2")]),
        ("@c", [("photo", ""), ("cover", "")]),
        ("@.[photo]", [("photo", "")]),
        ("@.[cover,photo]", [("cover", ""), ("photo", "")]),
        ("@.[title]", []),
    ],
)
def test_a_multimodal_document(path: str, expected: list[tuple[str, str]]) -> None:
    page = Document(Page(title="A title", photo=PIXELS, cover=PIXELS))
    page.id, page.chunks[1].id, page.chunks[2].id = "page", "photo", "cover"
    assert [
        (image.document_id, image.place) for image in select_images(DocumentArray([page]), path, 100).items
    ] == expected


def test_image_chunks_give_a_row_each_in_chunk_order() -> None:
    embedding = encode(album())[0].embedding
    assert embedding.dtype == np.float32
    assert embedding.tolist() == [[0] * DIM, [1] * DIM]


def test_one_image_chunk_still_gives_a_matrix() -> None:
    assert encode(album())[1].embedding.shape == (1, DIM)


def test_chunks_come_before_a_documents_own_content() -> None:
    docs = DocumentArray([picture("a", chunks=[image_chunk("a0")])])
    assert reached(docs) == [("a", "chunk 0", b"a0")]


def test_own_content_counts_where_no_chunk_is_an_image() -> None:
    docs = DocumentArray([picture("a", chunks=[Document(text="x"), Document(blob=b"sound", modality="audio")])])
    assert encode(docs)[0].embedding.shape == (DIM,)


def test_a_chunk_that_does_not_say_it_is_an_image_is_none() -> None:
    assert reached(DocumentArray([Document(id="a", chunks=[picture("a0")])])) == []


@pytest.mark.parametrize(
    "fields",
    [{"tensor": PIXELS}, {"blob": b"x"}, {"uri": "data:,x"}, {"blob": b"x", "modality": "image"}],
    ids=["tensor", "blob", "uri", "said to be one"],
)
def test_own_content_gives_one_vector(fields: dict[str, Any]) -> None:
    embedding = encode(DocumentArray([Document(**fields)]))[0].embedding
    assert (embedding.shape, embedding.dtype) == ((DIM,), np.float32)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tensor": PIXELS, "uri": "cat.jpg"}, PIXELS),
        ({"blob": b"x", "uri": "cat.jpg"}, b"x"),
        ({"uri": "cat.jpg"}, "cat.jpg"),
        ({"tensor": [[[1, 2, 3]]]}, np.array([[[1, 2, 3]]])),
    ],
    ids=["tensor before uri", "blob before uri", "uri", "nested lists"],
)
def test_what_is_read_of_a_document(fields: dict[str, Any], expected: Any) -> None:
    [image] = select_images(DocumentArray([Document(**fields)]), "@r", 100).items
    assert type(image.content) is type(expected)
    np.testing.assert_array_equal(image.content, expected)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": "a cat"},
        {"text": "a cat", "uri": "cat.txt"},
        {"blob": b"x", "modality": "audio"},
        {"tensor": PIXELS, "modality": "video"},
        {"chunks": [Document(text="x")]},
        {"tags": {"price": 5}},
    ],
    ids=["nothing", "text", "text with its source", "audio", "video", "no image chunks", "tags"],
)
def test_what_is_no_image_is_left_as_it_is(fields: dict[str, Any]) -> None:
    docs = DocumentArray([Document(id="a", **fields)])
    before = docs[0].to_dict()
    assert select_images(docs, "@r", 100).items == []
    assert encode(docs)[0].to_dict() == before


@pytest.mark.parametrize(
    "fields",
    [{"modality": "image"}, {"modality": "image", "text": "x"}, {"mime_type": "image/png"}],
    ids=["modality", "modality with text", "mime type"],
)
def test_an_image_without_content_is_asked_for_so_that_it_fails_by_name(fields: dict[str, Any]) -> None:
    [image] = select_images(DocumentArray([Document(id="a", **fields)]), "@r", 100).items
    assert (image.document_id, image.place, image.content) == ("a", "", None)


def test_an_image_chunk_without_content_keeps_its_place() -> None:
    docs = DocumentArray([Document(id="a", chunks=[image_chunk("a0"), Document(modality="image")])])
    images = select_images(docs, "@r", 100).items
    assert [(image.place, image.content) for image in images] == [("chunk 0", b"a0"), ("chunk 1", None)]


def test_documents_of_one_id_get_their_own_embeddings() -> None:
    docs = DocumentArray([Document(id="same", blob=b"1"), Document(id="same", blob=b"2")])
    encode(docs)
    assert [doc.embedding.tolist() for doc in docs] == [[0] * DIM, [1] * DIM]


def test_chunks_of_one_id_get_their_own_rows() -> None:
    docs = DocumentArray([Document(chunks=[image_chunk("same"), image_chunk("same")])])
    assert encode(docs)[0].embedding.tolist() == [[0] * DIM, [1] * DIM]


@pytest.mark.parametrize(("path", "count"), [("@r", 3), ("@c", 4), ("@r,c", 7)])
def test_the_limit_counts_the_documents_that_the_paths_reach(path: str, count: int) -> None:
    select_images(album(), path, count)
    with pytest.raises(TooLarge, match=f"^{count} documents at '{path}'; at most {count - 1} "):
        select_images(album(), path, count - 1)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("@r[::0]", "slice step cannot be zero"),
        ("@c[1:2:0]", "slice step cannot be zero"),
        ("@.[photo]", "Multi Modal Document"),
        ("@c.[photo]", "Multi Modal Document"),
    ],
)
def test_a_path_that_does_not_fit_the_documents_is_named(path: str, reason: str) -> None:
    with pytest.raises(BadParameter, match=reason) as raised:
        select_images(album(), path, 100)
    assert repr(path) in raised.value.detail


def test_an_attribute_that_does_not_exist_is_named() -> None:
    docs = DocumentArray([Document(Page(title="t", photo=PIXELS, cover=PIXELS))])
    with pytest.raises(BadParameter, match=r"does not fit the documents.*`nope`"):
        select_images(docs, "@.[nope]", 100)


@pytest.mark.parametrize(
    "schema",
    [
        {"photo": {"attribute_type": "document"}},
        {"photo": "x"},
        {"photo": {"attribute_type": "document", "position": 9}},
    ],
    ids=["no position", "no description", "no such chunk"],
)
def test_a_multimodal_document_that_describes_itself_wrongly_is_a_bad_request(schema: dict[str, Any]) -> None:
    page = Document(chunks=[image_chunk("a0")])
    page._metadata = {"multi_modal_schema": schema}
    with pytest.raises(BadParameter, match="does not fit the documents"):
        select_images(DocumentArray([page]), "@.[photo]", 100)


def test_an_error_becomes_a_tag_and_its_neighbours_are_written() -> None:
    docs = DocumentArray([picture("a"), picture("b", embedding=np.ones(DIM)), picture("c")])
    select_images(docs, "@r", 100).write([np.zeros(DIM), BadDocument("broken", "b"), np.ones(DIM)])
    assert docs[1].embedding is None  # not the one that an earlier run left
    assert docs[1].tags["error"] == "BadDocument: document 'b': broken"
    assert [docs[0].embedding.tolist(), docs[2].embedding.tolist()] == [[0] * DIM, [1] * DIM]
    assert "error" not in docs[0].tags


def test_one_bad_chunk_costs_its_document_the_matrix() -> None:
    docs = DocumentArray([Document(id="a", chunks=[image_chunk("a0"), image_chunk("a1")], tags={"price": 5})])
    select_images(docs, "@r", 100).write([np.zeros(DIM), TooLarge("too big", "a", "chunk 1")])
    assert docs[0].embedding is None
    assert docs[0].tags == {"price": 5, "error": "TooLarge: document 'a', chunk 1: too big"}


def test_only_embeddings_change() -> None:
    fields = {"tags": {"price": 5}, "weight": 0.5, "scores": {"s": NamedScore(value=2)}, "mime_type": "image/png"}
    docs = DocumentArray([picture("a", chunks=[image_chunk("a0", tags={"k": "v"}), Document(text="t")], **fields)])
    before = docs[0].to_dict()
    after = encode(docs)[0].to_dict()
    assert np.asarray(after.pop("embedding")).shape == (1, DIM)
    before.pop("embedding")
    assert after == before


def test_nothing_to_encode_is_fine() -> None:
    encode(DocumentArray())
    encode(DocumentArray([Document(text="x")]))
