"""What of an error crosses the wire: its class name, three strings and its repr."""

from __future__ import annotations

import pickle

import pytest

from clip_image_flow import errors
from clip_image_flow.errors import (
    BadDocument,
    BadParameter,
    ConfigError,
    Expired,
    ModelChanged,
    ModelError,
    NotFinite,
    QueueFull,
    RequestError,
    TooLarge,
    UnsupportedMedia,
)

WIRE_NAMES = {
    "BadParameter",
    "BadDocument",
    "TooLarge",
    "UnsupportedMedia",
    "QueueFull",
    "Expired",
    "NotFinite",
    "ModelChanged",
}
ON_THE_WIRE = [BadParameter, BadDocument, TooLarge, UnsupportedMedia, QueueFull, Expired, NotFinite, ModelChanged]


def test_the_names_that_a_gateway_may_see_are_these() -> None:
    named = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RequestError)}
    assert named - {"RequestError"} == WIRE_NAMES


@pytest.mark.parametrize("kind", ON_THE_WIRE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("detail",), ("detail", "", "")),
        (("detail", "id"), ("detail", "id", "")),
        (("detail", "id", "chunk 2"), ("detail", "id", "chunk 2")),
    ],
    ids=["request", "document", "chunk"],
)
def test_the_args_are_always_three_strings(
    kind: type[RequestError], args: tuple[str, ...], expected: tuple[str, str, str]
) -> None:
    error = kind(*args)
    assert error.args == expected
    assert (error.detail, error.document_id, error.place) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QueueFull("try later"), "QueueFull: try later"),
        (BadDocument("no image", "a1"), "BadDocument: document 'a1': no image"),
        (TooLarge("9 bytes", "a1", "chunk 2"), "TooLarge: document 'a1', chunk 2: 9 bytes"),
    ],
    ids=["request", "document", "chunk"],
)
def test_the_repr_says_kind_place_and_reason(error: RequestError, expected: str) -> None:
    assert repr(error) == expected
    assert str(error) == expected.partition(": ")[2]


@pytest.mark.parametrize("kind", ON_THE_WIRE, ids=lambda kind: kind.__name__)
def test_an_error_can_be_placed_later_and_keeps_its_kind(kind: type[RequestError]) -> None:
    original = kind("broken")
    placed = original.at("a1", "chunk 0")
    assert type(placed) is kind
    assert placed.args == ("broken", "a1", "chunk 0")
    assert original.args == ("broken", "", "")


def test_an_error_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(BadDocument("broken", "a1", "chunk 0")))
    assert (type(copy), copy.args) == (BadDocument, ("broken", "a1", "chunk 0"))


def test_start_up_errors_are_no_request_errors() -> None:
    assert issubclass(ModelError, ConfigError)
    assert issubclass(ConfigError, ValueError)
    assert not issubclass(ConfigError, RequestError)
