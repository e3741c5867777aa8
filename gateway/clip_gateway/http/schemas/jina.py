"""The body of `POST /post`, in the format of Jina's Client."""

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
    """Documents, their endpoint and parameters."""

    # protobuf and DocArray check the types when they convert the fields, and report errors. `Any` avoids checking each
    # of a thousand documents twice.

    data: Any = Field(
        None,
        type="array",
        items=_OBJECT,
        description="documents: id, blob (base64), uri, chunks, tags, ...",
    )
    parameters: Any = Field(None, type="object", description=f"request parameters: {', '.join(KNOWN)}")
    endpoint: Any = Field(_DEFAULTS["execEndpoint"], alias="execEndpoint", type="string")
    target_executor: Any = Field(
        _DEFAULTS["targetExecutor"],
        alias="targetExecutor",
        type="string",
        description="names of executors, separated by |, with .* for the rest of a name",
    )

    @root_validator(pre=True)
    def _both_spellings(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        """Accept `exec_endpoint` and `target_executor` too, as Jina's own gateway does."""
        found = dict(values)
        for name, other in _SPELLINGS.items():
            if found.get(name) is None:
                found[name] = found.get(other)
            found[name] = found[name] or _DEFAULTS[name]
        return found

    @property
    def documents(self) -> list[Any]:
        """Documents as JSON values.

        :raises Problem: if they are not a list.
        """
        data = self.data or []
        if isinstance(data, dict):
            data = data.get("docs") or []
        if not isinstance(data, list):
            raise Problem(Malformed, "data must be a list of documents")
        return data
