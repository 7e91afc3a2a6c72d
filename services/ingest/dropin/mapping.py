"""How the names in a banner's configuration become purposes: the same name, or what `?map=` says.

The map is JSON: {"analytics": "audience", "security": null, "chatra": {"purpose": "chat-history", "services": [...]}}.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Final
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.errors import InvalidParameter, UnknownPurpose
from schemas.events import LegalBasis, Name
from schemas.limits import DECISIONS_MAX, NAME_CHARS_MAX, SERVICES_MAX
from services.ingest.auth import QUERY_FIELDS_MAX

MAP_CHARS_MAX: Final = 4096
_MAPS_MAX: Final = 256
_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{NAME_CHARS_MAX - 1}}}")


class Target(BaseModel):
    """A purpose that an answer is about, under which legal basis, and for which services alone."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    purpose: Name
    legal_basis: LegalBasis = "consent"
    services: Annotated[list[Name], Field(min_length=1, max_length=SERVICES_MAX)] | None = None


_MAP: Final = TypeAdapter(
    Annotated[
        dict[str, Target | Name | Annotated[list[Name], Field(max_length=DECISIONS_MAX)] | None],
        Field(max_length=DECISIONS_MAX),
    ]
)

Targets = Mapping[str, tuple[Target, ...]]


@lru_cache(maxsize=_MAPS_MAX)
def read_map(query: bytes) -> Targets:
    """The map in a query string; an answer without a target is left out. Raises InvalidParameter."""
    try:
        text = parse_qs(query.decode("latin-1"), max_num_fields=QUERY_FIELDS_MAX).get("map", ["{}"])[0]
    except ValueError:
        raise InvalidParameter("/map") from None
    if len(text) > MAP_CHARS_MAX:
        raise InvalidParameter("/map")
    try:
        stated = _MAP.validate_json(text)
    except ValidationError:
        raise InvalidParameter("/map") from None
    return {key: _targets(value) for key, value in stated.items()}


def _targets(value: Target | str | list[str] | None) -> tuple[Target, ...]:
    if isinstance(value, Target):
        return (value,)
    names = [] if value is None else [value] if isinstance(value, str) else value
    return tuple(Target(purpose=name) for name in names)


def targets_of(key: str, mapped: Targets) -> tuple[Target, ...]:
    """What the answer under `key` is about. Raises UnknownPurpose for a name that no purpose can have."""
    if key in mapped:
        return mapped[key]
    name = key.lower()
    if _NAME.fullmatch(name) is None:
        raise UnknownPurpose
    return (Target(purpose=name),)
