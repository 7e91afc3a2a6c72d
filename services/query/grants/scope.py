"""What a caller may see of a controller's records: the first wall around a regulator's grant; the second is Postgres's
row-level security (services.postgres). Also around the sites that a machine's key is for. Pure.

Invariant: what a grant leaves out is refused as what is not there, word for word.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from schemas.errors import NotFound
from schemas.events import parse_time
from schemas.holds import hides_from_subject, is_of_a_hold
from schemas.record import PartName
from services.query.auth import Caller
from services.query.validity import Answer

# Said with every grant: what a purpose in it chooses, and what it does not cut (design, section 3, Payload).
PROOFS_SHOW: Final = (
    "A grant's purposes choose records and filter lists and answers. The proof of a chosen record shows its whole "
    "decision part, also decisions about other purposes: the part was signed as one."
)


# Which of the controller's people did something stands there in `context`, and is not the person's to read.
BY: Final = "by"
# So is, in `context.ext`, where somebody else who reported them is answered (services/ingest/reports.py).
REPORTER: Final = "reporter"


def require_subject(caller: Caller, subject: UUID | None) -> None:
    """Raise NotFound for a subject that the grant is not about; nobody (None) is in no list of people."""
    if caller.scope is not None and subject not in caller.scope:
        raise NotFound


def has_answer(caller: Caller, answer: Answer) -> bool:
    """Whether the grant is about the purpose of an answer, and about the time of the record that it rests on.

    Of a key for some sites: whether that record is of one of them; what was decided elsewhere is no answer to it.
    """
    if not is_of_sites(caller, answer.what):
        return False
    asked_about = caller.purposes is None or answer.decided.purpose in caller.purposes
    return asked_about and _has_moment(caller, answer.received_at)


def is_of_sites(caller: Caller, what: Mapping[str, Any] | None) -> bool:
    """Whether a record is of the sites that the caller's key is for; for a key without such a limit every record is."""
    return caller.sites is None or (what is not None and what["site"] in caller.sites)


def _has_moment(caller: Caller, received_at: datetime | None) -> bool:
    """Whether what was received then is of the grant's time; of what nobody can say when, only if it has no limits."""
    grant = caller.grant
    if grant is None or (grant.records_from is None and grant.records_until is None):
        return True
    if received_at is None:
        return False
    return (grant.records_from is None or grant.records_from <= received_at) and (
        grant.records_until is None or received_at <= grant.records_until
    )


def has_record(caller: Caller, what: Mapping[str, Any] | None) -> bool:
    """Whether the grant, or the key's sites, choose a record by its decision part.

    Of one that was deleted nobody can say it.
    """
    if not is_of_sites(caller, what):
        return False
    if caller.role == "subject" and what is not None and is_of_a_hold(what):
        # It names colleagues and may be confidential: /v1/me/holds tells what may be told of it.
        return False
    grant = caller.grant
    if grant is not None and what is not None and hides_from_subject(what):
        # Another authority's order is confidential to this one too.
        return bool(what["hold"].get("grant") == str(grant.grant))
    if grant is None or not is_limited(caller):
        return True
    if what is None or not _has_moment(caller, parse_time(what["received_at"])):
        return False
    decided: Iterable[Mapping[str, Any]] = what.get("decisions", [])
    return grant.purposes is None or any(decision["purpose"] in grant.purposes for decision in decided)


def visible_parts(caller: Caller, what: Mapping[str, Any] | None) -> tuple[PartName, ...]:
    """The parts of a record that the caller may see, by its decision part.

    A regulator sees no circumstances of a request: where to answer and what somebody wrote is `who` by another name.
    """
    if caller.role == "auditor" and (what is None or str(what["type"]).startswith("request.")):
        return tuple(name for name in caller.parts if name != "context")
    return caller.parts


def as_told(caller: Caller, part: dict[str, Any]) -> dict[str, Any]:
    """A part in a list, without the name of a colleague where it is the person who reads it."""
    return own_words(part) if caller.role == "subject" else part


def own_words(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part as the person whose it is reads it: no colleague is named, nor whoever reported them."""
    own = {name: value for name, value in part.items() if name != BY}
    if isinstance(own.get("ext"), dict):
        own["ext"] = {name: value for name, value in own["ext"].items() if name != REPORTER}
    return own


def latest_seen(caller: Caller, moment: datetime) -> datetime:
    """A moment asked about, or the end of the grant's time if that is before it: nothing later is answered from."""
    grant = caller.grant
    if grant is None or grant.records_until is None:
        return moment
    return min(moment, grant.records_until)


def is_cut_off(caller: Caller) -> bool:
    """Whether the grant's time has an end, so that the answer of now is not to be given."""
    return caller.grant is not None and caller.grant.records_until is not None


def is_limited(caller: Caller) -> bool:
    """Whether the grant, or the key's sites, may leave out some of a subject's records."""
    grant = caller.grant
    if caller.sites is not None:
        return True
    return grant is not None and (grant.purposes, grant.records_from, grant.records_until) != (None, None, None)
