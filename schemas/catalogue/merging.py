"""A controller's own catalogue: whole services of its own, and overrides of ours.

The rule: an override replaces whole top-level members of the service, and null takes a member away. Nothing is merged
deeper, so that what stands in an override is all that holds for that member.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from schemas.canonical import canonical_json, read_strict
from schemas.catalogue.reading import services
from schemas.catalogue.service import Service


def merged(service: str, override: Mapping[str, Any]) -> Service:
    """The service as the controller states it. Raises pydantic's ValidationError, also for another service's name.

    1. Begin with our catalogue's members, or with nothing for a service of the controller's own; 2. replace what the
    override names; 3. validate the whole: a cookie of a use that an override took away is a fault.
    """
    base = services().get(service)
    members = {} if base is None else base.model_dump(exclude_none=True)
    whole = Service.model_validate({**members, "service": service, **override})
    if whole.service != service:
        raise _another_name()
    return whole


def own_bytes(service: str, override: Mapping[str, Any]) -> bytes:
    """Canonical bytes of what a controller states of a service. Raises ValidationError or ControlCharacter."""
    merged(service, override)
    content = canonical_json(override)
    read_strict(content)
    return content


@lru_cache(maxsize=256)
def with_own(own: tuple[tuple[str, bytes], ...]) -> Mapping[str, Service]:
    """Our catalogue with what one controller states: pairs of a service's name and its `own_bytes`, sorted.

    What an older version accepted and this one does not is left out: our own entry holds then, or none.
    """
    found = dict(services())
    for name, content in own:
        override: dict[str, Any] = read_strict(content)[0]
        try:
            found[name] = merged(name, override)
        except ValidationError:
            continue
    return found


def _another_name() -> ValidationError:
    fault = ValueError("it must be the service that the path or the file names")
    return ValidationError.from_exception_data(
        "Service", [{"type": "value_error", "loc": ("service",), "input": None, "ctx": {"error": fault}}]
    )
