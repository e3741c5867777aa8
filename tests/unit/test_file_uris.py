"""file:// URIs: read below the allowed folders alone, whatever links and dots lead elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_image_flow.errors import BadDocument, TooLarge
from tests.unit.test_uris import MAX_BYTES, read


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    (tmp_path / "pictures" / "a b.png").write_bytes(b"inside")
    (tmp_path / "pictures" / "deep" / "c.png").write_bytes(b"deep")
    (tmp_path / "pictures2").mkdir()
    (tmp_path / "pictures2" / "d.png").write_bytes(b"outside")
    (tmp_path / "pictures" / "link.png").symlink_to(tmp_path / "pictures2" / "d.png")
    (tmp_path / "pictures" / "linked").symlink_to(tmp_path / "pictures2")
    (tmp_path / "pictures" / "alias.png").symlink_to(tmp_path / "pictures" / "deep" / "c.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("name", "content"), [("a%20b.png", b"inside"), ("deep/c.png", b"deep"), ("alias.png", b"deep")]
)
def test_files_below_an_allowed_folder_are_read(pictures: Path, slash: str, name: str, content: bytes) -> None:
    assert read(f"file://{pictures}/{name}", f"file://{pictures}{slash}") == content


@pytest.mark.parametrize(
    "uri",
    [
        "file://{folder}/link.png",
        "file://{folder}/linked/d.png",
        "file://{folder}/../pictures2/d.png",
        "file://{folder}/%2e%2e/pictures2/d.png",
        "file://{folder}2/d.png",
        "file://localhost{folder}/deep/c.png",
        "file:deep/c.png",
        "{folder}/deep/c.png",
        "FILE:///etc/hostname",
    ],
)
def test_files_elsewhere_are_refused(pictures: Path, uri: str) -> None:
    with pytest.raises(BadDocument, match="is not allowed here"):
        read(uri.format(folder=pictures), f"file://{pictures}/")


@pytest.mark.parametrize(
    "name", ["none.png", "deep", "a%00b.png", "x" * 5000], ids=["missing", "folder", "nul", "long"]
)
def test_files_that_cannot_be_read_are_bad_documents(pictures: Path, name: str) -> None:
    with pytest.raises(BadDocument, match=r"cannot be read|is malformed"):
        read(f"file://{pictures}/{name}", f"file://{pictures}/")


def test_a_large_file_is_too_large(pictures: Path) -> None:
    (pictures / "large.png").write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(TooLarge, match=f"more than {MAX_BYTES} bytes"):
        read(f"file://{pictures}/large.png", f"file://{pictures}/")
