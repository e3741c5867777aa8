"""The demo's images and queries: photographs in installed packages, and images in the repository."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT

HELD_OUT = ROOT / "examples" / "pictures" / "heldout"

# distribution -> (package, directory, photographs): files in their wheels, so nothing is downloaded.
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

# query -> names of the images that are correct matches, for display only; recall is measured over all images.
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
    """An image that the demo encodes is missing."""


@dataclass(frozen=True)
class Picture:
    """An image file, with the name of what it shows."""

    path: Path

    @property
    def file(self) -> str:
        """File name, used as document id: `name` is not unique (rocket.jpg and rocket.png)."""
        return self.path.name

    @property
    def name(self) -> str:
        """Name of what the image shows: `face with tears of joy` for `face-with-tears-of-joy.png`."""
        return self.path.stem.replace("-", " ").replace("_", " ")

    @property
    def query(self) -> str:
        """Query for the image, with the prompt that the included model was trained with."""
        return f"an emoji of {self.name}"


def photographs() -> list[Picture]:
    """Return the photographs in the scikit-learn and scikit-image packages.

    :raises MissingPicturesError: if a package or file is missing.
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
                raise MissingPicturesError(f"{distribution} {version} does not contain {folder}/{name}: `make setup`")
            pictures.append(Picture(path))
    return pictures


def held_out() -> list[Picture]:
    """Return the emoji in the repository, in a style that the included model was not trained on.

    :raises MissingPicturesError: if there are none.
    """
    pictures = [Picture(path) for path in sorted(HELD_OUT.glob("*.png"))]
    if not pictures:
        raise MissingPicturesError(f"no images in {HELD_OUT}; restore them with `git restore examples`")
    return pictures
