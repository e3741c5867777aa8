"""What the demo encodes and asks for: photographs that come with installed packages, and the committed pictures."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT

HELD_OUT = ROOT / "examples" / "pictures" / "heldout"

# distribution -> (package, folder in it, photographs): files in their wheels, nothing is fetched.
_PHOTOGRAPHS = {
    "scikit-learn": ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
    "scikit-image": (
        "skimage",
        "data",
        (
            "astronaut.png",
            "brick.png",
            "camera.png",
            "chelsea.png",
            "clock_motion.png",
            "coffee.png",
            "coins.png",
            "grass.png",
            "gravel.png",
            "hubble_deep_field.jpg",
            "moon.png",
            "motorcycle_left.png",
            "retina.jpg",
            "rocket.jpg",
        ),
    ),
}

# query -> the names of the committed pictures that answer it. These are to be looked at; how well names find pictures
# is measured over all of them.
QUERIES = {
    "an emoji of a red apple": {"red apple"},
    "an emoji of a rainbow": {"rainbow"},
    "an emoji of a snowman": {"snowman"},
    "an emoji of an octopus": {"octopus"},
    "a picture of a boat": {"sailboat"},
    "a picture of a vehicle": {"airplane", "automobile", "bicycle", "locomotive", "rocket", "sailboat"},
    "a picture of an animal face": {"cat face", "dog face", "tiger face", "fox", "frog"},
    "a picture of a smiling face": {
        "grinning face",
        "face with tears of joy",
        "smiling face with sunglasses",
        "sun with face",
    },
}


class MissingPicturesError(RuntimeError):
    """A picture that the demo encodes is not where it should be."""


@dataclass(frozen=True)
class Picture:
    """A file, and what people call what it shows."""

    path: Path

    @property
    def file(self) -> str:
        """Its document's id: names are not unique, there is a rocket.jpg and a rocket.png."""
        return self.path.name

    @property
    def name(self) -> str:
        """`face-with-tears-of-joy.png` -> `face with tears of joy`."""
        return self.path.stem.replace("-", " ").replace("_", " ")

    @property
    def query(self) -> str:
        """A text that asks for it, in the words that the embedded model learned names with."""
        return f"an emoji of {self.name}"


def photographs() -> list[Picture]:
    """The photographs in the scikit-learn and scikit-image packages.

    :raises MissingPicturesError: when a package or a file of it is not there.
    """
    pictures = []
    for distribution, (package, folder, names) in _PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)  # finds it without importing it, which would take seconds
        if spec is None or spec.origin is None:
            raise MissingPicturesError(
                f"{distribution}, whose photographs the demo encodes, is not installed: `make setup`"
            )
        for name in names:
            path = Path(spec.origin).parent / folder / name
            if not path.is_file():
                version = importlib.metadata.version(distribution)
                raise MissingPicturesError(f"{distribution} {version} does not bring {folder}/{name}: `make setup`")
            pictures.append(Picture(path))
    return pictures


def held_out() -> list[Picture]:
    """The committed emoji, in a style that the embedded model has never seen.

    :raises MissingPicturesError: when there are none.
    """
    pictures = [Picture(path) for path in sorted(HELD_OUT.glob("*.png"))]
    if not pictures:
        raise MissingPicturesError(f"no pictures in {HELD_OUT}; they belong to the repository: `git restore examples`")
    return pictures
