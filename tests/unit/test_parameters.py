"""What a caller may ask of one request: accepted values, refused values, and the words of a refusal."""

from __future__ import annotations

import time
from typing import Any

import pytest

from clip_image_flow.errors import BadParameter
from clip_image_flow.serving.parameters import EncodeParameters, positive_integer


def parse(key: str, value: Any) -> EncodeParameters:
    return EncodeParameters().override({key: value})


def case(value: Any, id: str | None = None) -> Any:
    return pytest.param(value, id=id or repr(value))


@pytest.mark.parametrize("parameters", [None, {}], ids=["none", "empty"])
def test_without_parameters_the_defaults_hold(parameters: dict[str, Any] | None) -> None:
    defaults = EncodeParameters(traversal_paths="@c", batch_size=7, on_error="skip", normalize=True)
    assert defaults.override(parameters) == defaults


def test_a_request_changes_what_it_names_and_nothing_else() -> None:
    defaults = EncodeParameters(traversal_paths="@c", batch_size=7, on_error="skip", normalize=True)
    assert defaults.override({"batch_size": 2.0}) == EncodeParameters("@c", 2, "skip", True)


def test_one_request_does_not_change_the_defaults_of_the_next() -> None:
    defaults = EncodeParameters()
    defaults.override({"batch_size": 2, "normalize": True})
    assert defaults == EncodeParameters()


@pytest.mark.parametrize(("value", "expected"), [(1, 1), (4, 4), (4.0, 4), (1e3, 1000), (10**9, 10**9)])
def test_batch_size_is_a_whole_number_and_may_come_as_a_float(value: float, expected: int) -> None:
    batch_size = parse("batch_size", value).batch_size
    assert batch_size == expected
    assert type(batch_size) is int


@pytest.mark.parametrize(
    "value",
    [
        case(4.5),
        case(0),
        case(0.0),
        case(-1),
        case(True),
        case("4"),
        case(None),
        case([4]),
        case({"n": 4}),
        case(float("nan")),
        case(float("inf")),
        case(float("-inf")),
    ],
)
def test_any_other_batch_size_is_refused_by_name(value: Any) -> None:
    with pytest.raises(BadParameter, match=r"batch_size must be a whole number of at least 1, not "):
        parse("batch_size", value)


@pytest.mark.parametrize("key", ["batch_size", "__deadline__"])
def test_an_integer_beyond_every_float_is_refused(key: str) -> None:
    with pytest.raises(BadParameter, match=key):
        parse(key, 10**400)


def test_other_options_share_the_rule_for_whole_numbers() -> None:
    assert positive_integer("max_documents", 3.0) == 3
    with pytest.raises(BadParameter, match="max_documents must be"):
        positive_integer("max_documents", 0)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("@r", "@r"),
        ("r", "@r"),
        ("@c", "@c"),
        ("@cc", "@cc"),
        ("@m", "@m"),
        ("@cm", "@cm"),
        ("@r,c", "@r,c"),
        ("@r,@c", "@r,c"),
        ("@r,c,cc,m", "@r,c,cc,m"),
        ("@c[:2]", "@c[:2]"),
        ("@c[1:]c[::2]", "@c[1:]c[::2]"),
        ("@c[-2:]", "@c[-2:]"),
        ("@c1", "@c1"),
        ("@r[0]", "@r[0]"),
        ("@.[photo]", "@.[photo]"),
        ("@.[photo,cover_2]", "@.[photo,cover_2]"),
        ("@r.[photo]c", "@r.[photo]c"),
        (" @r , c ", "@r,c"),
        ("@c\n,\tr", "@c,r"),
    ],
)
def test_traversal_paths_follow_docarrays_grammar(path: str, expected: str) -> None:
    assert parse("traversal_paths", path).traversal_paths == expected


@pytest.mark.parametrize(
    "value",
    [
        case("", "empty"),
        case("@"),
        case("x"),
        case("@q"),
        case("@R"),
        case("@@r"),
        case("@r,,c"),
        case("@r,"),
        case(",r"),
        case("@c["),
        case("@c]"),
        case("@c[]"),
        case("@c[a]"),
        case("@c[1:2:3:4]"),
        case("@c[1.5]"),
        case("@c[0000000000]", "ten digits"),
        case("@.photo"),
        case("@.[]"),
        case("@.[1st]"),
        case("@.[é]"),
        case("@c\u0661", "arabic digit"),
        case(5),
        case(None),
        case(True),
        case(["@r"]),
        case(b"@r"),
    ],
)
def test_anything_else_is_no_traversal_path(value: Any) -> None:
    with pytest.raises(BadParameter, match=r"traversal_paths must be a DocArray path such as '@r'.*, not "):
        parse("traversal_paths", value)


@pytest.mark.parametrize(
    "path",
    [
        case("@" + "c" * 10_000, "chunks"),
        case("@r," * 3_333 + "r", "many paths"),
        case("@c[" + "1" * 10_000, "digits"),
        case("@" + "c:" * 127 + "!", "slices"),
        case("@.[" + "a," * 120 + "]", "attributes"),
        case("@" + "c-1:" * 63 + "!", "signs"),
        case(" " * 10_000, "blanks"),
    ],
)
def test_hostile_traversal_paths_are_refused_at_once(path: str) -> None:
    began = time.perf_counter()
    with pytest.raises(BadParameter) as raised:
        parse("traversal_paths", path)
    assert time.perf_counter() - began < 0.5
    assert len(raised.value.detail) < 300  # the answer does not repeat what was sent


@pytest.mark.parametrize("value", ["raise", "skip"])
def test_on_error_has_two_ways(value: str) -> None:
    assert parse("on_error", value).on_error == value


@pytest.mark.parametrize("value", [case("Raise"), case("ignore"), case(""), case(None), case(1.0), case(["skip"])])
def test_any_other_on_error_is_refused(value: Any) -> None:
    with pytest.raises(BadParameter, match="on_error must be one of raise, skip, not "):
        parse("on_error", value)


@pytest.mark.parametrize("value", [True, False])
def test_normalize_is_true_or_false(value: bool) -> None:
    assert EncodeParameters(normalize=not value).override({"normalize": value}).normalize is value


@pytest.mark.parametrize("value", [case(1), case(0.0), case("true"), case(None), case([])])
def test_normalize_is_not_guessed_from_other_values(value: Any) -> None:
    with pytest.raises(BadParameter, match="normalize must be true or false, not "):
        parse("normalize", value)


@pytest.mark.parametrize("key", ["batchsize", "batch_size ", "model", "", "_", "__half", "deadline", "request_id"])
def test_an_unknown_key_is_named_together_with_the_allowed_ones(key: str) -> None:
    with pytest.raises(BadParameter) as raised:
        parse(key, 1)
    assert raised.value.detail == (
        f"unknown parameter {key!r}; allowed are traversal_paths, batch_size, on_error, normalize, "
        "drop_image_content, expect_fingerprint"
    )


def test_a_bad_key_beside_good_ones_is_still_refused() -> None:
    with pytest.raises(BadParameter, match="'batchsize'"):
        EncodeParameters().override({"batch_size": 2, "batchsize": 3})


@pytest.mark.parametrize("key", ["__results__", "__anything__"])
def test_reserved_keys_of_others_are_passed_over(key: str) -> None:
    assert parse(key, {"whatever": 1}) == EncodeParameters()


def test_the_gateways_own_keys_are_read() -> None:
    options = EncodeParameters().override({"__deadline__": 12, "__request_id__": "abc"})
    assert (options.deadline, options.request_id) == (12.0, "abc")


def test_a_request_id_is_kept_short() -> None:
    assert len(parse("__request_id__", "x" * 10_000).request_id) == 200


@pytest.mark.parametrize("value", [case("soon"), case(True), case(None), case(float("nan")), case(float("inf"))])
def test_a_deadline_is_a_time(value: Any) -> None:
    with pytest.raises(BadParameter, match="__deadline__ must be a Unix time in seconds, not "):
        parse("__deadline__", value)


def test_the_older_name_of_the_traversal_paths_is_read() -> None:
    assert EncodeParameters().override({"access_paths": "@c"}).traversal_paths == "@c"
    with pytest.raises(BadParameter, match="access_paths must be a DocArray path"):
        EncodeParameters().override({"access_paths": "c c c]"})


def test_a_models_name_is_the_gateways_business() -> None:
    assert EncodeParameters().override({"model_name": "other"}) == EncodeParameters()


ONE, OTHER = "1" * 64, "ab" * 32


@pytest.mark.parametrize("value", [ONE, f"{ONE},{OTHER}", f" {ONE} , {OTHER.upper()} "])
def test_fingerprints_come_one_or_several(value: str) -> None:
    assert EncodeParameters().override({"expect_fingerprint": value}).expect_fingerprint[0] == ONE


@pytest.mark.parametrize("value", ["", "abc", f"{ONE},", ONE[:-1] + "g", [ONE], 7, None, ",".join([ONE] * 17)])
def test_what_is_no_fingerprint_is_refused(value: Any) -> None:
    with pytest.raises(BadParameter, match="expect_fingerprint must be a fingerprint of /info"):
        EncodeParameters().override({"expect_fingerprint": value})
