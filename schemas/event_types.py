"""The types of events: which there are, who may publish which, and the coarse class that stands in the public entry.

Invariant: whoever faces the Internet may publish only what a visitor or a site's server says.
"""

from typing import Final, Literal

EventType = Literal[
    "notice.served",
    "consent.given",
    "consent.refused",
    "consent.withdrawn",
    "consent.renewed",
    "consent.expired",
    "consent.invalidated",
    "consent.observed",
    "signal.gpc",
    "identity.linked",
    "notice.changed",
    "notice.told",
    "account.deleted",
    "account.restored",
    "age.stated",
    "request.received",
    "request.identity",
    "request.verified",
    "request.paused",
    "request.resumed",
    "request.extended",
    "request.answered",
    "request.refused",
    "request.withdrawn",
    "request.reminded",
    "request.told",
    "subject.erased",
    "restriction.placed",
    "restriction.lifted",
    "hold.placed",
    "hold.reviewed",
    "hold.released",
    "trigger.answered",
    "access.read",
    "access.checked",
    "access.exported",
    "access.granted",
    "access.revoked",
    "correction",
]

# What a browser's publishable key may post; what a server key may post besides. The rest is the service's own.
BROWSER_TYPES: Final[frozenset[str]] = frozenset(
    {
        "notice.served",
        "consent.given",
        "consent.refused",
        "consent.withdrawn",
        "consent.renewed",
        "consent.observed",
        "signal.gpc",
        "identity.linked",
    }
)
SERVER_TYPES: Final[frozenset[str]] = BROWSER_TYPES | {
    "consent.expired",
    "consent.invalidated",
    "account.deleted",
    "account.restored",
    "age.stated",
    "notice.told",
    "request.received",
    "correction",
}
# What an ingest process's registration lets it publish; the ledger dead-letters anything else under its signature.
INGEST_TYPES: Final[frozenset[str]] = SERVER_TYPES
# The same for a query process: what the controller's own people ask for and do.
QUERY_TYPES: Final[frozenset[str]] = frozenset(
    {
        "consent.withdrawn",
        "correction",
        "notice.told",
        "request.received",
        "request.identity",
        "request.verified",
        "request.paused",
        "request.resumed",
        "request.extended",
        "request.answered",
        "request.refused",
        "request.withdrawn",
        "request.reminded",
        "request.told",
        "subject.erased",
        "restriction.placed",
        "restriction.lifted",
        "hold.placed",
        "hold.reviewed",
        "hold.released",
        "trigger.answered",
        "access.read",
        "access.checked",
        "access.exported",
        "access.granted",
        "access.revoked",
    }
)

EntryClass = Literal["consent", "notice", "request", "erasure", "access", "system"]

_CLASS_OF_PREFIX: Final[dict[str, EntryClass]] = {
    "consent": "consent",
    "signal": "consent",
    "correction": "consent",
    "notice": "notice",
    "request": "request",
    "hold": "request",
    "restriction": "request",
    "trigger": "request",
    "subject": "erasure",
    "access": "access",
    "identity": "system",
    "account": "system",
    "age": "system",
    "log": "system",
}


def entry_class(event_type: str) -> EntryClass:
    """The coarse class that stands in the public entry; the exact type is personal and stays in the payload."""
    return _CLASS_OF_PREFIX[event_type.partition(".")[0]]
