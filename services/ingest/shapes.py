"""The schema check, remembered by shape: what a site's events have in common is validated once.

A shape is an event's canonical JSON with the id, the time, the identifiers' values and what proves them left empty. The
schema looks at those by themselves only, so an event whose shape has passed passes if they do (test_shapes.py).
Free text stands in a shape, so what is remembered is its hash under a key of this process alone.
"""

import hashlib
import os
from typing import Any, Final

from pydantic import TypeAdapter

from schemas.canonical import canonical_json
from schemas.events import Capability, IdentifierValue, Identity, Time, Uuid, VisitorKey
from services.ingest.reading import Readable

# Who posts ever new shapes only makes the check as slow as it is without this.
SHAPES_MAX: Final = 2048

_VARIABLE: Final = TypeAdapter(tuple[Uuid, Time, list[IdentifierValue]]).validator
_PROOFS: Final = {
    "visitorkey": TypeAdapter(VisitorKey).validator,
    "capability": TypeAdapter(Capability).validator,
    "identity": TypeAdapter(Identity).validator,
}


class Shapes:
    """Shapes that the schema takes. Used on one event loop."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._key = os.urandom(32)

    def knows(self, event: Readable) -> bool:
        """Whether the schema takes the event, for all we know by its shape; False says: look."""
        shape = shape_of(event.value)
        return shape is not None and self._name(shape) in self._known

    def learn(self, event: Readable) -> None:
        """Remember the shape of an event that the schema took."""
        shape = shape_of(event.value)
        if shape is not None:
            if len(self._known) >= SHAPES_MAX:
                self._known.clear()
            self._known.add(self._name(shape))

    def _name(self, shape: bytes) -> bytes:
        return hashlib.sha256(self._key + shape).digest()


def shape_of(value: Any) -> bytes | None:
    """None if the event has none: something that a shape leaves empty is missing, or is not as the schema wants it."""
    try:
        data = value["data"]
        emptied = {**value, "id": "", "time": ""}
        identifiers = []
        if "subject" in data:
            subject = data["subject"]
            identifiers = subject["identifiers"]
            hidden = [{**identifier, "value": ""} for identifier in identifiers]
            emptied["data"] = {**data, "subject": {**subject, "identifiers": hidden}}
        values = [identifier["value"] for identifier in identifiers]
        sound = _VARIABLE.isinstance_python((value["id"], value["time"], values), strict=True)
        if not _PROOFS.keys().isdisjoint(value):
            for name in _PROOFS.keys() & value.keys():
                emptied[name] = ""
                sound = sound and _PROOFS[name].isinstance_python(value[name], strict=True)
    except (KeyError, TypeError, IndexError):
        return None
    return canonical_json(emptied) if sound else None
