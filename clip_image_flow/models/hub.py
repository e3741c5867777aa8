"""Repositories of the Hugging Face hub, in the cache.

`organisation/name` is what the hub has now; `organisation/name@REVISION` (a commit, a tag or a branch, written as timm
and OpenCLIP write it) is that alone. Pods that start at different times have the same weights for sure with a commit.
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
    """The folder of `repository` (`organisation/name` or `organisation/name@REVISION`) in the cache, with those of
    `files` that it has.

    What is not there is fetched. Without a network the cache is enough.

    :param name: of the model, for an error.
    :raises ModelError: it does not exist, or cannot be reached.
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
    except Exception as error:  # whatever answers in the hub's place, and the HTTP client's own errors
        raise ModelError(
            f"model {name!r} is not in {cache_dir} and cannot be downloaded ({first_line(error)}); "
            "download it on a machine with network access and give its folder as pretrained_model_name_or_path"
        ) from error


def cached(repository: str, cache_dir: Path, files: Sequence[str]) -> list[Path]:
    """Those of `files` that are in the cache; nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache

    called, revision = _parts(repository)
    found = [try_to_load_from_cache(called, file, cache_dir=cache_dir, revision=revision) for file in files]
    return [Path(file) for file in found if isinstance(file, str)]


def _parts(repository: str) -> tuple[str, str | None]:
    called, _, revision = repository.partition("@")
    return called, revision or None


def check(file: Path, name: str) -> None:
    """Compare a file of the cache with its SHA-256, where the hub has stated one.

    The hub's cache calls a large file by its SHA-256, and the file in a repository's folder is a link to it.

    :raises ModelError: they differ.
    """
    stated = file.resolve()
    if stated.parent.name != "blobs" or not _SHA256.fullmatch(stated.name):
        return
    with stated.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != stated.name:
        raise ModelError(f"model {name!r}: {file} is not what the hub has by its SHA-256; delete {stated} and retry")
