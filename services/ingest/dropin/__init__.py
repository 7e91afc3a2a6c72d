"""Drop-ins: what pages with Klaro or cookieconsent post to a backend already, taken as it is (docs/ingest.md).

A page that posts such a body changes the address and nothing else. Body, depth, key, origin and rate are limited as on
/v1/events, because the same endpoint takes them; what stands here only turns the body into an event.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.types import Scope

from schemas.canonical import canonical_json, read_strict
from schemas.errors import EventTooLarge, UnsupportedMediaType, WrongType
from schemas.limits import EVENT_BYTES_MAX
from services.ingest.dropin import cookieconsent, klaro
from services.ingest.dropin.acts import Act, event_of
from services.ingest.dropin.mapping import read_map
from services.ingest.reading import Body, Readable

KLARO: Final = "/v1/drop-in/klaro"
COOKIECONSENT: Final = "/v1/drop-in/cookieconsent"
PATHS: Final = frozenset({KLARO, COOKIECONSENT})
# Where Klaro's own API module posts, below the address in data-klaro-api-url; the key stands in data-klaro-id.
_KLARO_API: Final = "/v1/privacy-managers/"
_KLARO_API_END: Final = "/submit"
_MEDIA_TYPES: Final = frozenset({b"application/json", b"text/plain"})

_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Act | None]]] = {
    KLARO: klaro.read,
    COOKIECONSENT: cookieconsent.read,
}


def as_drop_in(scope: Scope) -> Scope:
    """The scope of a post of Klaro's API module as one to KLARO; any other scope as it is."""
    path: str = scope["path"]
    if not (path.startswith(_KLARO_API) and path.endswith(_KLARO_API_END)):
        return scope
    key = path[len(_KLARO_API) : -len(_KLARO_API_END)]
    return {**scope, "path": KLARO, "query_string": b"key=" + quote(key, safe="").encode()}


def read_drop_in(scope: Scope, content_type: bytes, body: bytes, source: str, now_us: int) -> Body | None:
    """The event that a posted body tells of; None for a banner that was only shown: servings are counted, not recorded.

    Raises the problems of schemas.canonical, InvalidParameter, MissingField, UnknownPurpose, UnsupportedMediaType.
    """
    if content_type.partition(b";")[0].strip().lower() not in _MEDIA_TYPES:
        raise UnsupportedMediaType
    if len(body) > EVENT_BYTES_MAX:
        raise EventTooLarge
    value, _ = read_strict(body)
    if not isinstance(value, dict):
        raise WrongType("")
    act = _READERS[scope["path"]](value)
    if act is None:
        return None
    event = event_of(act, read_map(scope["query_string"]), source, now_us)
    return Body(single=True, events=[Readable(event, canonical_json(event))])
