"""A JSON body as a model of pydantic, from which /openapi.json is made.

FastAPI would read and parse bodies by itself, in the event loop and before anything is counted. So a route reads its
body within the limits (`clip_gateway.http.messages.read_json`), and makes a model of what was read. What a model finds
wrong it says as a `Problem`, which pydantic lets through: codes and words are part of the interface, and pydantic's own
would change with its version.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConstrainedList, Extra, root_validator, validate_model

from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed

B = TypeVar("B", bound="Body")


class Several(ConstrainedList):
    """A list of at least one string, which is what its schema says."""

    item_type = str
    __args__ = (str,)
    min_items = 1


class Body(BaseModel):
    """The body of a request."""

    class Config:
        """Of pydantic."""

        @staticmethod
        def schema_extra(schema: dict[str, Any]) -> None:
            """Members go by their names; pydantic makes titles of them, such as `Execendpoint`."""
            for member in schema["properties"].values():
                member.pop("title", None)

    @classmethod
    def read(cls: type[B], value: dict[str, Any]) -> B:
        """The model of what was read.

        :raises Problem: it is no such body.
        """
        values, names, error = validate_model(cls, value)  # not `cls(**value)`: a caller may choose any name
        if error:
            first = error.errors()[0]
            raise Problem(Malformed, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        return cls.construct(names, **values)


class StrictBody(Body):
    """A body without members that are unknown here; validators see members that are missing as None."""

    class Config:
        """Of pydantic."""

        extra = Extra.forbid

    @root_validator(pre=True)
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        if unknown := values.keys() - cls.__fields__.keys():
            known = ", ".join(sorted(cls.__fields__))
            raise Problem(BadParameter, f"unknown member {min(unknown)[:100]!r}; there are {known}")
        return {**{name: None for name, field in cls.__fields__.items() if field.required}, **values}


# A sentence may begin with "data:" too, but has a space before its first comma.
_URI = re.compile(r"data:(?:image/|[^\s,]*,)|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def filled(value: Any, place: str) -> str:
    """A string that holds something.

    :param place: its name in errors.
    :raises Problem: it is none, or empty.
    """
    if not isinstance(value, str) or not value:
        raise Problem(BadDocument, "send a string that is not empty", place)
    return value


def as_uri(image: str) -> str:
    """A URI as it is, and bare base64 as a data URI."""
    return image if is_uri(image) else f"data:;base64,{image}"


def is_uri(text: str) -> bool:
    """Whether this is an image as a data URI, or says where one is."""
    return bool(_URI.match(text))
