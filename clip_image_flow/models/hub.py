"""Downloads repositories of the Hugging Face hub to the cache.

`organisation/name` is the current revision; `organisation/name@REVISION` (a commit, a tag or a branch, in the notation
of timm and OpenCLIP) pins one. Only a pinned commit guarantees the same weights to pods that start at different times.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from clip_image_flow.errors import ModelError, first_line

_SHA256 = re.compile("[0-9a-f]{64}")


def download(repository: str, cache_dir: Path, files: Sequence[str], name: str | None = None) -> Path:
    """Download files of a repository, unless they are cached, and return its folder in the cache.

    With a complete cache no network is needed.

    :param repository: `organisation/name` or `organisation/name@REVISION`.
    :param cache_dir: folder of the cache.
    :param files: names of files; those that the repository lacks are ignored.
    :param name: name of the model in error messages; by default the repository.
    :raises ModelError: the repository does not exist, or the hub is unreachable.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    name = name or repository
    called, revision = _parts(repository)
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        return Path(
            snapshot_download(
                called, revision=revision, cache_dir=cache_dir, allow_patterns=list(files), endpoint=endpoint
            )
        )
    except RevisionNotFoundError as error:
        raise ModelError(f"model {name!r}: {called!r} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        of = "" if name == repository else f" as {repository!r}"
        raise ModelError(f"model {name!r}: the hub has no such repository{of}, or HF_TOKEN may not read it") from error
    except Exception as error:  # errors of the HTTP client, and unexpected answers from a proxy
        raise ModelError(
            f"model {name!r} is not in {cache_dir} and cannot be downloaded ({first_line(error)}); "
            "download it on a machine with network access and give its folder as pretrained_model_name_or_path"
        ) from error


def cached(repository: str, cache_dir: Path, files: Sequence[str]) -> list[Path]:
    """Paths of those of `files` that are in the cache; nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    called, revision = _parts(repository)
    found = [try_to_load_from_cache(called, file, cache_dir=cache_dir, revision=revision) for file in files]
    return [Path(file) for file in found if isinstance(file, str)]


def _parts(repository: str) -> tuple[str, str | None]:
    called, _, revision = repository.partition("@")
    return called, revision or None


def check(file: Path, name: str) -> None:
    """Verify a cached file by the SHA-256 that the hub states, if there is one.

    In the hub's cache the name of a large file is its SHA-256, and the file in a repository's folder is a link to it.

    :param name: name of the model in error messages.
    :raises ModelError: the file does not match its SHA-256.
    """
    stated = file.resolve()
    if stated.parent.name != "blobs" or not _SHA256.fullmatch(stated.name):
        return
    with stated.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != stated.name:
        raise ModelError(f"model {name!r}: {file} does not match the hub's SHA-256; delete {stated} and retry")
