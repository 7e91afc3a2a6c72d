"""What is answered about one person and one purpose: the words of an answer, the same for one, for a list, and signed.

Invariant: whoever asks, and however, the answer is made here, from one state.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from schemas.record import format_time
from services.query.auth import Caller
from services.query.decisions import Decisions, Judged, Moment, State
from services.query.holds.suppressions import Suppressions
from services.query.store import Reader, Store
from services.query.validity import Notice


class Status(NamedTuple):
    """The state, the answer that speaks for the purpose (None: nobody was asked), and what is said of it."""

    state: State
    judged: Judged | None
    said: dict[str, Any]


class Statuses:
    """Answers about purposes."""

    def __init__(self, store: Store, decisions: Decisions, suppressions: Suppressions) -> None:
        self._store = store
        self._decisions = decisions
        self._suppressions = suppressions

    async def of(self, caller: Caller, subject: UUID, purpose: str, moment: Moment) -> Status:
        """Whether a consent to the purpose stands, with reasons. Raises NotFound."""
        async with self._store.reading(caller.controller, caller.scope) as reader:
            return await self.of_in(reader, caller, subject, purpose, moment)

    async def of_in(self, reader: Reader, caller: Caller, subject: UUID, purpose: str, moment: Moment) -> Status:
        """The same in a transaction that is open already. Raises NotFound."""
        state = await self._decisions.state_in(reader, caller, subject, moment)
        judged = state.of(purpose)
        said: dict[str, Any] = {
            "subject": str(subject),
            "purpose": purpose,
            "at": format_time(state.at),
            "known_at": format_time(state.known_at),
            **erased(state.erased_at),
        }
        if judged is not None:
            return Status(state, judged, {**said, **describe(judged)})
        reasons = ["erased" if state.lost else "never_asked"]
        before = await self._suppressions.of_in(reader, caller, subject, purpose, state.at)
        if before is not None:
            # Who objected, was erased and came back is asked nothing again by that.
            reasons.append("objected")
            said["objected_before_erasure"] = {
                "legal_basis": before.legal_basis,
                "objected_at": format_time(before.objected_at),
                "until": format_time(before.until),
            }
        return Status(state, None, {**said, "valid": False, "reasons": reasons, "decision": None})


def erased(erased_at: datetime | None) -> dict[str, str]:
    """What is said of a subject that was erased, instead of that there is none."""
    return {} if erased_at is None else {"erased_at": format_time(erased_at)}


def describe(judged: Judged) -> dict[str, Any]:
    """An answer as the API shows it; members that do not apply are left out."""
    answer, judgement = judged.answer, judged.judgement
    decided = answer.decided
    shown: dict[str, Any] = {
        "purpose": decided.purpose,
        "legal_basis": decided.legal_basis,
        "decision": decided.decision,
        "valid": judgement.valid,
        "reasons": judgement.reasons,
        "decided_at": format_time(answer.decided_at),
        "log": answer.log,
        "index": answer.index,
    }
    if answer.received_at is not None:
        shown["received_at"] = format_time(answer.received_at)
    if answer.through is not None:
        shown["through"] = str(answer.through)
    if judgement.to_confirm:
        shown["to_confirm"] = True
    if judgement.expires_at is not None:
        shown["expires_at"] = format_time(judgement.expires_at)
    what = answer.what
    if what is None:
        return shown
    shown |= {"event": what["id"], "type": what["type"], "time": what["time"], "site": what["site"]}
    shown |= {"posted_by": what["posted_by"], "words": judgement.words, "marks": what.get("marks", [])}
    if "notice" in what:
        shown["notice"] = _notice(what["notice"], judged.notice)
    for posted in what["decisions"]:
        mine = posted["purpose"], posted["legal_basis"], posted["decision"]
        if mine == (decided.purpose, decided.legal_basis, decided.decision):
            shown |= {name: posted[name] for name in ("services", "purpose_version") if name in posted}
    return shown


def _notice(posted: Mapping[str, Any], standing: Notice | None) -> dict[str, Any]:
    """What the page named, and what we know of it: a published notice's own id and version, not what the page said."""
    if standing is None:
        return dict(posted)
    said = {**posted, "notice_id": standing.notice_id, "notice_version": standing.version}
    if standing.notice.hex() != posted["sha256"]:
        said["matched_to"] = standing.notice.hex()
    return said
