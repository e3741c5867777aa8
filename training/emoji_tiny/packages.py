"""Downloads the npm packages with the drawings and names of emoji."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO_ROOT = Path(__file__).resolve().parents[2]
DEFAULT_CACHE = REPO_ROOT / ".cache" / "emoji-tiny"


@dataclass(frozen=True)
class Package:
    """A pinned npm package, with its source and its credits."""

    name: str
    version: str
    licence: str
    credit: str
    url: str

    @property
    def folder(self) -> str:
        """Folder name under the cache: the package name without a slash, and the version."""
        return f"{self.name.replace('@', '').replace('/', '-')}-{self.version}"


NAMES = Package(
    "emojibase-data",
    "17.0.0",
    "MIT",
    "Miles Johnson",
    "https://github.com/milesj/emojibase",
)

STYLES: dict[str, Package] = {
    "noto": Package(
        "@iconify-json/noto",
        "1.2.9",
        "Apache-2.0",
        "Google Inc (Noto Emoji)",
        "https://github.com/googlefonts/noto-emoji",
    ),
    "noto-v1": Package(
        "@iconify-json/noto-v1",
        "1.2.5",
        "Apache-2.0",
        "Google Inc (Noto Emoji, first design)",
        "https://github.com/googlefonts/noto-emoji",
    ),
    "twemoji": Package(
        "@iconify-json/twemoji",
        "1.2.5",
        "CC-BY-4.0",
        "Twitter, Inc and other contributors (Twemoji)",
        "https://github.com/jdecked/twemoji",
    ),
    "emojione": Package(
        "@iconify-json/emojione",
        "1.2.3",
        "CC-BY-4.0",
        "EmojiOne 2 and EmojiTwo contributors",
        "https://github.com/EmojiTwo/emojitwo",
    ),
    "fxemoji": Package(
        "@iconify-json/fxemoji",
        "1.2.2",
        "Apache-2.0",
        "Mozilla (FxEmoji, the Firefox OS emoji)",
        "https://github.com/mozilla/fxemoji",
    ),
    "streamline": Package(
        "@iconify-json/streamline-emojis",
        "1.2.4",
        "CC-BY-4.0",
        "Streamline",
        "https://github.com/webalys-hq/streamline-vectors",
    ),
}

HELD_OUT = Package(
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "MIT",
    "Microsoft Corporation (Fluent Emoji)",
    "https://github.com/microsoft/fluentui-emoji",
)


def fetch(package: Package, cache: Path = DEFAULT_CACHE) -> Path:
    """Return the directory of the unpacked ``package``; it is downloaded once, with ``npm pack``."""
    folder = cache / "packages" / package.folder
    if (folder / "package" / "package.json").is_file():
        return folder / "package"
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(
            f"npm is needed to fetch {package.name}@{package.version} and is not on PATH; "
            "install Node.js, which brings npm, and try again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", f"{package.name}@{package.version}", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr.strip()}")
    archive = next(folder.glob("*.tgz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    return folder / "package"


def read_json(folder: Path, name: str) -> Any:
    """Parse one JSON file of an unpacked package."""
    return json.loads((folder / name).read_text(encoding="utf-8"))
