"""The body of `POST /post`, as Jina's Client writes it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, root_validator

from clip_gateway.http.schemas.body import Body
from clip_gateway.problems import Problem
from clip_wire.endpoints import DEFAULT
from clip_wire.errors import Malformed
from clip_wire.parameters import KNOWN

_OBJECT = {"type": "object"}
_DEFAULTS = {"execEndpoint": DEFAULT, "targetExecutor": ""}
_SPELLINGS = {"execEndpoint": "exec_endpoint", "targetExecutor": "target_executor"}


class PostBody(Body):
    """Documents, and where they go."""

    # All of it becomes protobuf's and DocArray's, which check its types where they take it, and say what is wrong with
    # it: `Any` spares looking at each of a thousand documents twice.

    data: Any = Field(
        None,
        type="array",
        items=_OBJECT,
        description="documents: id, blob (base64), uri, chunks, tags, ...",
    )
    parameters: Any = Field(None, type="object", description=f"of the Flow: {', '.join(KNOWN)}")
    endpoint: Any = Field(_DEFAULTS["execEndpoint"], alias="execEndpoint", type="string")
    target_executor: Any = Field(
        _DEFAULTS["targetExecutor"],
        alias="targetExecutor",
        type="string",
        description="names of executors, | between them, .* for the rest of one",
    )

    @root_validator(pre=True)
    def _both_spellings(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        """Jina's own gateway reads `exec_endpoint` too."""
        found = dict(values)
        for name, other in _SPELLINGS.items():
            if found.get(name) is None:
                found[name] = found.get(other)
            found[name] = found[name] or _DEFAULTS[name]
        return found

    @property
    def documents(self) -> list[Any]:
        """The documents as JSON has them.

        :raises Problem: they are no list.
        """
        data = self.data or []
        if isinstance(data, dict):
            data = data.get("docs") or []
        if not isinstance(data, list):
            raise Problem(Malformed, "data must be a list of documents")
        return data
