"""How templates are written: within 120 columns, code indented by the blocks it is in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.flow.names import CHART

TEMPLATES = sorted(path for path in (CHART / "templates").rglob("*") if path.is_file())
WIDTH = 120
_COMMENT = re.compile(r"\{\{/\*.*?\*/\}\}", re.DOTALL)
_LONG = re.compile(r"\{\{-[^{}]*?\n[^{}]*?\}\}")
_ACTION = re.compile(r"\{\{-?\s*(if|range|with|define|block|else|end)\b")
_DEFINE = re.compile(r"^\{\{- define .*?^\{\{- end \}\}(?=\n\n|\n*\Z)", re.DOTALL | re.MULTILINE)


def code(path: Path, text: str) -> str:
    """`text` with blank lines for all that is not code alone: of helpers, those that have lines of text; of others,
    from the first line of text on, for there code follows the text's own indentation.
    """
    is_text = re.compile(r"^\s*(?!\{\{-)\S", re.MULTILINE)
    if path.suffix == ".tpl":
        return _DEFINE.sub(lambda found: "\n" * found[0].count("\n") if is_text.search(found[0]) else found[0], text)
    first = is_text.search(text)
    return text[: first.start()] if first else text


def plain(text: str) -> str:
    """`text` without comments, and with an action of several lines on its first: as many lines as before."""
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    return _LONG.sub(lambda found: " ".join(found[0].split()) + "\n" * found[0].count("\n"), text)


def indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


@pytest.mark.parametrize(
    "path", [path for path in TEMPLATES if path.suffix != ".tpl"], ids=lambda path: str(path.relative_to(CHART))
)
def test_every_template_begins_by_giving_missing_values_their_defaults(path: Path) -> None:
    """Any of them may be the first that Helm renders, and an upgrade with `--reuse-values` lacks newer keys."""
    assert path.read_text(encoding="utf-8").startswith('{{- include "clip-image-flow.init" . ')


def test_every_named_template_bears_the_charts_name() -> None:
    """In an umbrella all charts share one set of them."""
    named = [name for path in TEMPLATES for name in re.findall(r'define "([^"]+)"', path.read_text(encoding="utf-8"))]
    assert named
    assert [name for name in named if not name.startswith("clip-image-flow.")] == []
    assert len(set(named)) == len(named)


def wrong_in_code(lines: list[str]) -> list[int]:
    """The numbers of those lines of code that are not indented by two columns for each block they are in."""
    wrong, depth = [], 0
    for number, line in enumerate(lines, 1):
        words = _ACTION.findall(line)
        closes = bool(words) and words[0] in ("end", "else")
        if line.strip() and indentation(line) != 2 * (depth - closes):
            wrong.append(number)
        depth += sum((word == "end") * -1 + (word not in ("end", "else")) for word in words)
    return wrong


def wrong_ends(lines: list[str]) -> list[int]:
    """The numbers of the lines that begin with an `end` or `else` in another column than what it belongs to."""
    wrong: list[int] = []
    open_at: list[int] = []
    for number, line in enumerate(lines, 1):
        for place, word in enumerate(_ACTION.findall(line)):
            if word in ("end", "else") and place == 0 and line.lstrip().startswith("{{- " + word):
                wrong += [number] * (indentation(line) != open_at[-1])
            if word == "end":
                open_at.pop()
            elif word != "else":
                open_at.append(indentation(line))
    return wrong


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(CHART / "templates")))
def test_code_is_indented_by_its_blocks_and_lines_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [n for n, line in enumerate(text.splitlines(), 1) if len(line) > WIDTH] == []
    assert wrong_in_code(code(path, plain(text)).splitlines()) == []
    assert wrong_ends(plain(text).splitlines()) == []
