"""vanilla-cookieconsent 3: what its page on consent logging posts, with or without the cookie's own members.

{"consentId": ..., "acceptType": ..., "acceptedCategories": [...], "rejectedCategories": [...]}, flat, or with members
under "userPreferences" (or "preferences") and "cookie".
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Time
from schemas.limits import DECISIONS_MAX, SERVICES_MAX
from services.ingest.dropin.acts import Act, Action, Answer, ConsentId, Key, validated

_ACTIONS: Final[Mapping[str, Action]] = {"all": "accept_all", "necessary": "reject_all", "custom": "save"}
_NESTED: Final = ("cookie", "preferences", "userPreferences")
# The category that the banner's examples make read-only: nothing is decided in it, unless the page's map says so.
_USUAL: Final = {"necessary": ()}

_Keys = Annotated[list[Key], Field(max_length=DECISIONS_MAX)]
_Services = Annotated[dict[Key, Annotated[list[Key], Field(max_length=SERVICES_MAX)]], Field(max_length=DECISIONS_MAX)]


class Posted(BaseModel):
    """The members that are read; a page may post others too, of which nothing is kept."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    consent_id: ConsentId | None = Field(default=None, alias="consentId")
    # consentTimestamp is that of the first act: under it, every later one would pass for a copy of it and be lost.
    last_consent_timestamp: Time | None = Field(default=None, alias="lastConsentTimestamp")
    accept_type: Literal["all", "custom", "necessary"] | None = Field(default=None, alias="acceptType")
    categories: _Keys = []
    accepted_categories: _Keys | None = Field(default=None, alias="acceptedCategories")
    rejected_categories: _Keys = Field(default=[], alias="rejectedCategories")
    accepted_services: _Services = Field(default={}, alias="acceptedServices")
    rejected_services: _Services = Field(default={}, alias="rejectedServices")


def read(value: Mapping[str, Any]) -> Act:
    """Raises InvalidParameter."""
    merged: dict[str, Any] = {}
    for nested in _NESTED:
        inner = value.get(nested)
        merged |= inner if isinstance(inner, dict) else {}
    posted = validated(Posted, merged | {name: member for name, member in value.items() if name not in _NESTED})
    accepted = posted.categories if posted.accepted_categories is None else posted.accepted_categories
    answers = [
        *_answers(accepted, posted.accepted_services, granted=True),
        *_answers(posted.rejected_categories, {}, granted=False),
        # Of a category that was accepted in part.
        *(
            Answer(category, granted=False, services=services)
            for category, services in posted.rejected_services.items()
            if services and category in accepted
        ),
    ]
    return Act(
        answers,
        pointer="/rejectedCategories",
        consent_id=posted.consent_id,
        at=posted.last_consent_timestamp,
        action=_ACTIONS.get(posted.accept_type or ""),
        usual=_USUAL,
    )


def _answers(categories: list[str], services: Mapping[str, list[str]], *, granted: bool) -> list[Answer]:
    return [Answer(category, granted, services.get(category, ())) for category in categories]
