"""Prose lines of Markdown have at most 120 columns; tables, code and single links may be longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.prose import long_lines, main

WORDS = "word " * 30
URL = "https://example.com/" + "a" * 120


@pytest.mark.parametrize("text", [WORDS, f"- {WORDS}", f"# {WORDS}", f"a link [{WORDS}](b) {URL}"])
def test_a_long_prose_line_is_found(text: str) -> None:
    assert list(long_lines(f"short\n{text}\n")) == [(2, len(text))]


@pytest.mark.parametrize(
    "text",
    [
        "w" * 120,
        f"| {WORDS} |",
        f"    {WORDS}",
        f"```\n{WORDS}\n```",
        URL,
        f"- [{WORDS}]({URL}).",
    ],
    ids=["at the limit", "table", "indented code", "fenced code", "bare link", "item of one link"],
)
def test_a_line_that_cannot_be_wrapped_is_not_found(text: str) -> None:
    assert list(long_lines(text)) == []


def test_prose_after_a_code_block_is_checked() -> None:
    assert list(long_lines(f"```\n{WORDS}\n```\n{WORDS}")) == [(4, len(WORDS))]


def test_the_message_names_file_line_and_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, good = tmp_path / "page.md", tmp_path / "good.md"
    page.write_text(f"# Title\n\n{'w ' * 70}x\n")
    good.write_text("short\n")
    assert main([str(good)]) == 0
    assert main([str(good), str(page)]) == 1
    assert capsys.readouterr().out == f"{page}:3: 141 columns, more than 120\n"
