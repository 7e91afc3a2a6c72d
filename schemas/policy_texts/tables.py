"""The cookie table: what the services of a site keep on a device, for which use, for how long."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.catalogue.service import Cookie, Service, Storage
from schemas.notices import NoticeContent
from schemas.policy_texts.wording import Phrase, Wording


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One line of the table. `name` may be a pattern of names, empty where the source names no key."""

    name: str
    is_pattern: bool
    kind: str  # cookie, local, session or indexed_db
    kind_text: str
    type: str | None
    type_text: str
    duration: str | None  # ISO 8601, session or until_deleted; None: no source says
    duration_text: str
    purpose: Phrase
    party: str | None
    party_text: str
    service: str
    service_name: str
    use: str | None


def asked_uses(notices: Iterable[NoticeContent]) -> dict[str, set[str]]:
    """Which uses of which services the notices ask for: service -> purposes."""
    asked: dict[str, set[str]] = {}
    for notice in notices:
        for purpose in notice.purposes:
            for service in purpose.services:
                asked.setdefault(service, set()).add(purpose.purpose)
    return asked


def stored_rows(
    asked: Mapping[str, set[str]], catalogue: Mapping[str, Service], wording: Wording
) -> Sequence[StoredRow]:
    """Cookies, then other storage, of every service asked for. A use that no notice asks for is left out: the site
    does not have it; what belongs to no use in particular stays in.
    """
    rows: list[StoredRow] = []
    for name in sorted(asked):
        service = catalogue.get(name)
        if service is None:
            continue
        entries: list[Cookie | Storage] = [*(service.cookies or []), *(service.storage or [])]
        here = [entry for entry in entries if entry.use is None or entry.use in asked[name]]
        rows += [stored_row(service, entry, wording) for entry in here]
    return rows


def stored_row(service: Service, entry: Cookie | Storage, wording: Wording) -> StoredRow:
    """One cookie or storage entry in the words of one language."""
    kind = "cookie" if isinstance(entry, Cookie) else entry.area
    fixed = entry.name if isinstance(entry, Cookie) else entry.key
    cookie_type = entry.type if isinstance(entry, Cookie) else None
    party = entry.party if isinstance(entry, Cookie) else "first"
    duration = entry.duration if isinstance(entry, Cookie) else _kept(entry)
    return StoredRow(
        name=fixed or entry.pattern or "",
        is_pattern=fixed is None and entry.pattern is not None,
        kind=kind,
        kind_text=wording[f"area_{kind}"],
        type=cookie_type,
        type_text=wording["not_stated"] if cookie_type is None else wording[cookie_type],
        duration=duration,
        duration_text=_duration_text(duration, wording),
        purpose=wording.phrase(entry.purpose),
        party=party,
        party_text=wording["not_stated"] if party is None else wording[party],
        service=service.service,
        service_name=service.name,
        use=entry.use,
    )


def _kept(entry: Storage) -> str:
    """How long browsers keep it (HTML, 12.2.1): session storage with its tab, the rest until it is deleted."""
    return "session" if entry.area == "session" else "until_deleted"


def _duration_text(duration: str | None, wording: Wording) -> str:
    if duration is None:
        return wording["not_stated"]
    return wording["until_deleted"] if duration == "until_deleted" else wording.lifetime(duration)
