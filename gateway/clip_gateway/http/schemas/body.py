"""Base classes of JSON bodies as pydantic models, from which /openapi.json is generated.

FastAPI would parse bodies in the event loop, and before limits are checked. So a route reads its body within the limits
(`clip_gateway.http.messages.read_json`), and validates the result with a model. Validators raise `Problem`, which
pydantic passes on: error names and texts are part of the API, and pydantic's own change between versions.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConstrainedList, Extra, root_validator, validate_model

from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed

B = TypeVar("B", bound="Body")


class Several(ConstrainedList):
    """A list of at least one string."""

    item_type = str
    __args__ = (str,)
    min_items = 1


class Body(BaseModel):
    """A request body."""

    class Config:
        """Configuration of pydantic."""

        @staticmethod
        def schema_extra(schema: dict[str, Any]) -> None:
            """Remove the titles that pydantic derives from field names, such as `Execendpoint`."""
            for member in schema["properties"].values():
                member.pop("title", None)

    @classmethod
    def read(cls: type[B], value: dict[str, Any]) -> B:
        """Validate a parsed body.

        :param value: JSON object.
        :raises Problem: if the body is invalid.
        """
        values, names, error = validate_model(cls, value)  # not `cls(**value)`: the caller chooses the names
        if error:
            first = error.errors()[0]
            raise Problem(Malformed, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        return cls.construct(names, **values)


class StrictBody(Body):
    """A body in which unknown fields are errors; for missing fields, validators get None."""

    class Config:
        """Configuration of pydantic."""

        extra = Extra.forbid

    @root_validator(pre=True)
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        if unknown := values.keys() - cls.__fields__.keys():
            known = ", ".join(sorted(cls.__fields__))
            raise Problem(BadParameter, f"unknown member {min(unknown)[:100]!r}; there are {known}")
        return {**{name: None for name, field in cls.__fields__.items() if field.required}, **values}


# A sentence may also begin with "data:", but then has a space before its first comma.
_URI = re.compile(r"data:(?:image/|[^\s,]*,)|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def filled(value: Any, place: str) -> str:
    """Return `value` if it is a string that is not empty.

    :param value: JSON value.
    :param place: name of the value in errors.
    :raises Problem: if it is not a string, or empty.
    """
    if not isinstance(value, str) or not value:
        raise Problem(BadDocument, "send a string that is not empty", place)
    return value


def as_uri(image: str) -> str:
    """Return a URI unchanged, and base64 as a data URI."""
    return image if is_uri(image) else f"data:;base64,{image}"


def is_uri(text: str) -> bool:
    """Return whether a string is a data URI or another URI, and so an image."""
    return bool(_URI.match(text))
