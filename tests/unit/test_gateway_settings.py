"""The gateway's options are checked at the start; its tokens are read again when their file changes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from clip_gateway.problems import Problem
from clip_gateway.settings import Settings, SettingsError
from clip_gateway.tokens import Tokens

LOG = logging.getLogger("test")


def test_nothing_is_asked_for_by_default() -> None:
    settings = Settings()
    assert (settings.tokens_file, settings.tls_key_file, settings.log_format) == (None, None, "text")
    Tokens(settings.tokens_file, LOG).check(None)


def test_jinas_options_are_left_to_jina() -> None:
    options = {"max_documents": 7, "title": "mine", "port": [1, 2]}
    settings = Settings.take(options, {"max_documents": 7, "title": "mine"})
    assert settings.max_documents == 7
    assert options == {"title": "mine", "port": [1, 2]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_body_bytes": 0}, "max_body_bytes must be a whole number"),
        ({"max_body_bytes": "1 MB"}, "max_body_bytes must be a whole number"),
        ({"max_documents": 1.5}, "max_documents must be a whole number"),
        ({"max_concurrent_requests": True}, "max_concurrent_requests must be a whole number"),
        ({"time_limit_seconds": 0}, "time_limit_seconds must be a number"),
        ({"time_limit_seconds": float("inf")}, "time_limit_seconds must be a number"),
        ({"time_limit_seconds": "60"}, "time_limit_seconds must be a number"),
        ({"tls_certificate_file": __file__}, "belong together"),
        ({"tls_key_file": __file__}, "belong together"),
        ({"tokens_file": "/no/such/file"}, "tokens_file: no such file"),
        ({"log_format": "xml"}, "must be text or json"),
        ({"max_document": 7}, "unknown option 'max_document'"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.take(dict(options), options)


def test_the_log_format_comes_from_the_environment_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert Settings().log_format == "json"
    assert Settings(log_format="text").log_format == "text"


def passes(tokens: Tokens, token: str) -> bool:
    try:
        tokens.check(f"Bearer {token}")
    except Problem:
        return False
    return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("# first\nalpha\n\n  beta  \n#gamma\n")
    return path


def test_a_token_is_a_line(file: Path) -> None:
    tokens = Tokens(str(file), LOG)
    accepted = {
        token for token in ("alpha", "beta", "gamma", "#gamma", "alph", "alphabeta", "") if passes(tokens, token)
    }
    assert accepted == {"alpha", "beta"}


def test_a_change_of_the_same_length_within_a_clock_tick_is_seen(file: Path) -> None:
    tokens = Tokens(str(file), LOG)
    new = file.with_name("new")
    new.write_text(file.read_text().replace("alpha", "omega"))
    os.utime(new, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    new.rename(file)
    assert (passes(tokens, "alpha"), passes(tokens, "omega")) == (False, True)


def test_a_link_that_is_turned_is_followed(tmp_path: Path) -> None:
    """As Kubernetes replaces a mounted Secret."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokens").write_text(f"{name}-token\n")
    link = tmp_path / "data"
    link.symlink_to("old")
    tokens = Tokens(str(link / "tokens"), LOG)
    (tmp_path / "turned").symlink_to("new")
    (tmp_path / "turned").rename(link)
    assert (passes(tokens, "old-token"), passes(tokens, "new-token")) == (False, True)


def test_a_file_that_cannot_be_read_leaves_its_last_tokens(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = Tokens(str(file), LOG)
    file.unlink()
    assert passes(tokens, "alpha")
    assert passes(tokens, "alpha")
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    file.write_text("omega\n")
    assert (passes(tokens, "alpha"), passes(tokens, "omega")) == (False, True)


@pytest.mark.parametrize("text", ["", "# nobody\n\n"])
def test_a_file_without_tokens_is_an_error_at_the_start(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match="no token"):
        Tokens(str(file), LOG)


def test_a_file_that_is_no_text_is_an_error_at_the_start(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="tokens_file"):
        Tokens(str(file), LOG)
