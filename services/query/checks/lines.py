"""The lines that a bulk check posts: NDJSON, a chunk of people at a time.

Invariant: whatever is posted, no more than one chunk of it is in memory; and no problem repeats any of it.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import InvalidParameter
from schemas.events import Identifier, Uuid
from services.http import pointer_of, schema_names

# The longest identifier, each of its characters written as two escapes, and the members around it.
LINE_BYTES_MAX: Final = 6 * 1024
CHUNK_LINES: Final = 500


class Line(BaseModel):
    """Whom to check: a subject, or an identifier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: Annotated[Uuid, Field(description="As `lookup` names it.")] | None = None
    identifier: Identifier | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.subject is None) == (self.identifier is None):
            raise ValueError("one of both")
        return self


_NAMES: Final = schema_names(Line.model_json_schema())


async def chunks(body: AsyncIterator[bytes]) -> AsyncIterator[list[Line]]:
    """The lines of a body, CHUNK_LINES at a time; blank ones count, and say nothing.

    Raises InvalidParameter for the first that cannot be read: its number from 0, and the member, are the pointer.
    """
    held: list[Line] = []
    rest, number = b"", 0
    async for piece in body:
        *lines, rest = (rest + piece).split(b"\n")
        for raw in lines:
            if raw.strip():
                held.append(_read(raw, number))
            number += 1
            if len(held) == CHUNK_LINES:
                yield held
                held = []
        if len(rest) > LINE_BYTES_MAX:
            raise InvalidParameter(f"/{number}")
    if rest.strip():
        held.append(_read(rest, number))
    if held:
        yield held


def _read(raw: bytes, number: int) -> Line:
    if len(raw) > LINE_BYTES_MAX:
        raise InvalidParameter(f"/{number}")
    try:
        return Line.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError:
        raise InvalidParameter(f"/{number}") from None
    except ValidationError as error:
        loc = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        raise InvalidParameter(f"/{number}{pointer_of(loc, _NAMES)}") from None
