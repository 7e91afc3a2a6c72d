"""Links for e-mails: what a site's server asks for, the sealed token that carries it, and the event that it becomes.

Invariant: everything a link does stands in its token, so nothing of a person is in its address, and nothing is kept
here until somebody presses the button. Opening one only shows a page: mail scanners open every link.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from schemas import limits
from schemas.canonical import canonical_json
from schemas.errors import InvalidParameter, LinkNotValid, LinksNotConfigured
from schemas.events import PERMISSIVE, Identifier, Language, PurposeDecision, Sha256, Time, parse_time
from schemas.record import format_time
from schemas.topics import source_of
from services.capabilities import Capabilities
from services.ingest.reading import Readable

LinkKind = Literal["confirm", "unsubscribe"]
PATHS: Final[dict[LinkKind, str]] = {"confirm": "/c/", "unsubscribe": "/u/"}
# A mail lies in an archive for years, and its link must still end what it began.
LIFE_DAYS: Final[dict[LinkKind, int]] = {"confirm": 7, "unsubscribe": 5 * 365}
LIFE_DAYS_MAX: Final = 3653
# An address must fit into one line of a mail header (998 characters, RFC 5322, 2.1.1), in angle brackets.
URL_CHARS_MAX: Final[dict[LinkKind, int]] = {"confirm": 2000, "unsubscribe": 990}
# RFC 8058, 3.1 and 3.2.
POST_FIELD: Final = "List-Unsubscribe"
POST_VALUE: Final = "One-Click"

# How the button was pressed: on our page, or in a mail program that asked its own user.
Pressed = Literal["page", "mail-program"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LinkNotice(_Closed):
    """The notice whose words the page shows."""

    sha256: Sha256
    language: Language


class LinkBody(_Closed):
    """What a site's server asks a link for."""

    kind: LinkKind
    identifier: Identifier
    decisions: Annotated[list[PurposeDecision], Field(min_length=1, max_length=limits.DECISIONS_MAX)]
    notice: LinkNotice | None = None
    requested_at: Annotated[
        Time | None, Field(description="Only for confirm: when the person asked for it; now if left out.")
    ] = None
    life_days: Annotated[
        int | None,
        Field(ge=1, le=LIFE_DAYS_MAX, description="Days until the link ends: 7 for confirm, 1825 for unsubscribe."),
    ] = None

    @field_validator("decisions")
    @classmethod
    def _fit_the_kind(cls, decisions: list[PurposeDecision], info: ValidationInfo) -> list[PurposeDecision]:
        allowing = [decision.decision in PERMISSIVE for decision in decisions]
        if info.data.get("kind") == "confirm" and not any(allowing):
            raise ValueError("nothing to confirm")
        if info.data.get("kind") == "unsubscribe" and any(allowing):
            raise ValueError("a link to withdraw allows nothing")
        return decisions

    @field_validator("requested_at")
    @classmethod
    def _only_to_confirm(cls, requested_at: str | None, info: ValidationInfo) -> str | None:
        if requested_at is not None and info.data.get("kind") != "confirm":
            raise ValueError("only a confirmation was asked for")
        return requested_at


@dataclass(frozen=True, slots=True)
class Link:
    """An opened link. `decisions` and `notice` are plain JSON as in an event."""

    kind: LinkKind
    site: str
    identifier: dict[str, str]
    decisions: list[dict[str, Any]]
    notice: dict[str, str] | None
    # Only of a confirmation: when it was asked for, and the id of the one event that it can become.
    requested_at: str | None
    event: str | None

    @property
    def language(self) -> str | None:
        """The language of the words it is about, if it names any."""
        return None if self.notice is None else self.notice["language"]

    def claims(self) -> dict[str, Any]:
        """What its token holds besides its end."""
        claims: dict[str, Any] = {"site": self.site, "identifier": self.identifier, "decisions": self.decisions}
        optional = {"notice": self.notice, "requested_at": self.requested_at, "event": self.event}
        return claims | {name: value for name, value in optional.items() if value is not None}


class Made(NamedTuple):
    """A new link; `expires_at` is the first moment at which it does nothing any more."""

    url: str
    token: str
    expires_at: datetime


class Links:
    """Makes and opens links. `public_url` is where ingest is reached from outside; None: links cannot be made."""

    def __init__(self, capabilities: Capabilities, public_url: str | None) -> None:
        self._capabilities = capabilities
        self._public_url = public_url

    def make(self, link: Link, life_days: int | None, now_s: int) -> Made:
        """Seal a link. Raises LinksNotConfigured, and InvalidParameter if it would not fit into a mail."""
        if self._public_url is None:
            raise LinksNotConfigured
        expires_s = now_s + 24 * 3600 * (LIFE_DAYS[link.kind] if life_days is None else life_days)
        token = self._capabilities.seal(link.kind, {**link.claims(), "exp": expires_s})
        url = f"{self._public_url}{PATHS[link.kind]}{token}"
        if len(url) > URL_CHARS_MAX[link.kind]:
            raise InvalidParameter("/decisions")
        return Made(url, token, datetime.fromtimestamp(expires_s, UTC))

    def open(self, kind: LinkKind, token: str, now_s: int) -> Link:
        """Raises LinkNotValid for anything but a link of this kind whose time has not run out."""
        claims = self._capabilities.open(kind, token, now_s)
        if claims is None:
            raise LinkNotValid
        return Link(
            kind=kind,
            site=claims["site"],
            identifier=claims["identifier"],
            decisions=claims["decisions"],
            notice=claims.get("notice"),
            requested_at=claims.get("requested_at"),
            event=claims.get("event"),
        )


def link_of(body: LinkBody, site: str, now: datetime) -> Link:
    """The link that a valid body asks for. Raises InvalidParameter for a request that lies in the future."""
    confirms = body.kind == "confirm"
    requested_at = format_time(now) if confirms and body.requested_at is None else body.requested_at
    if requested_at is not None and parse_time(requested_at) > now + timedelta(seconds=limits.CLOCK_SKEW_S_MAX):
        raise InvalidParameter("/requested_at")
    return Link(
        kind=body.kind,
        site=site,
        identifier=body.identifier.model_dump(),
        decisions=[decision.model_dump(exclude_none=True) for decision in body.decisions],
        notice=None if body.notice is None else body.notice.model_dump(),
        requested_at=requested_at,
        event=_fresh_id() if confirms else None,
    )


def event_of(link: Link, now: datetime, pressed: Pressed, notice_token: str | None) -> Readable:
    """The event of pressing a link's button at `now`.

    A confirmation is one event however often it is pressed: its id stands in the link, and its content is the link
    alone, so that a second press is a copy of the first and keeps its moment. Every withdrawal is an act of its own.
    """
    data: dict[str, Any] = {
        "subject": {"identifiers": [link.identifier]},
        "decisions": link.decisions,
        "actor": {"entity": "subject", "auth": "capability"},
    }
    if link.notice is not None:
        data["notice"] = link.notice if notice_token is None else {**link.notice, "token": notice_token}
    capture = {"mechanism": "api", "element": "none"} if pressed == "mail-program" else _ON_OUR_PAGE
    data["capture"] = {**capture, "action": "confirm" if link.kind == "confirm" else "withdraw", "explicit": True}
    if link.kind == "confirm":
        data["double_opt_in"] = {"requested_at": link.requested_at, "confirmed_at": format_time(now)}
    event = {
        "specversion": "1.0",
        "id": _fresh_id() if link.event is None else link.event,
        "source": source_of(link.site),
        "type": "consent.given" if link.kind == "confirm" else "consent.withdrawn",
        "time": format_time(now),
        "data": data,
    }
    return Readable(event, canonical_json(event if link.event is None else link.claims()))


_ON_OUR_PAGE: Final = {"mechanism": "button", "element": "form"}


def _fresh_id() -> str:
    return str(UUID(bytes=os.urandom(16), version=4))
