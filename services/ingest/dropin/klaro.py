"""Klaro 0.7: what its API module posts (src/utils/api.js), and the `saveConsents` data that pages post themselves.

{"consent_data": {"consents": {"chatra": true}, "type": "save"}, "location_data": {"pathname": "/"}}, or what is inside.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Time
from schemas.limits import DECISIONS_MAX
from services.ingest.dropin.acts import Act, Action, Answer, ConsentId, Key, validated

_ACTIONS: Final[Mapping[str, Action]] = {"accept": "accept_all", "decline": "reject_all", "save": "save"}


class Posted(BaseModel):
    """The members that are read; Klaro posts others too. It knows no id of a visitor: a page may add one and a time."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    consents: Annotated[dict[Key, bool], Field(max_length=DECISIONS_MAX)]
    type: Annotated[str, Field(max_length=64)] | None = None
    pathname: str | None = None
    consent_id: ConsentId | None = Field(default=None, alias="consentId")
    timestamp: Time | None = None


def read(value: Mapping[str, Any]) -> Act | None:
    """None when the notice was only shown. Raises InvalidParameter."""
    inner, place = value.get("consent_data"), value.get("location_data")
    merged = {**value, **(inner if isinstance(inner, dict) else {})}
    if isinstance(place, dict) and isinstance(place.get("pathname"), str):
        merged["pathname"] = place["pathname"]
    posted = validated(Posted, merged)
    if posted.type == "show":
        return None
    return Act(
        [Answer(key, granted) for key, granted in posted.consents.items()],
        pointer="/consents",
        consent_id=posted.consent_id,
        at=posted.timestamp,
        action=_ACTIONS.get(posted.type or ""),
        page=posted.pathname,
        observed=posted.type == "script",
    )
