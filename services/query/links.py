"""One person by several subjects: whom a subject is linked to at a moment, and what then stands (design, section 3,
Subjects; decision 0012). Pure.

Invariant: a link is never followed twice, and carries only what was decided while it stood.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from schemas.events import PERMISSIVE
from schemas.ranking import LOWEST, Decided
from services.query.validity import Answer, Notices


class Act(NamedTuple):
    """A sign-in (`linked`) or a sign-out (`ended`) of `weak` at `strong`."""

    weak: UUID
    strong: UUID
    state: str
    acted_at: datetime
    received_at: datetime


class Span(NamedTuple):
    """How long a link stood; `end` None: it still did."""

    start: datetime
    end: datetime | None

    def holds(self, moment: datetime) -> bool:
        """Whether the link stood at this moment: from the sign-in on, no longer at the sign-out."""
        return self.start <= moment and (self.end is None or moment < self.end)


class Linked(NamedTuple):
    """Around one subject at one moment: weaker ones with the times of their links, and those it is linked to then."""

    weak: Mapping[UUID, Sequence[Span]]
    strong: Sequence[UUID]


class Scope(NamedTuple):
    """Of one purpose of a published notice: `device` or `account`."""

    notice: bytes
    site: str
    published_at: datetime
    purpose: str
    scope: str


def linked_at(subject: UUID, acts: Iterable[Act], at: datetime, known_at: datetime) -> Linked:
    """What the acts about a subject that were known at `known_at` make of it at `at`."""
    pairs: dict[tuple[UUID, UUID], list[Act]] = defaultdict(list)
    for act in acts:
        if act.acted_at <= at and act.received_at <= known_at:
            pairs[act.weak, act.strong].append(act)
    stood = {pair: spans(found) for pair, found in pairs.items()}
    return Linked(
        weak={weak: found for (weak, strong), found in stood.items() if strong == subject and found},
        strong=sorted(
            strong for (weak, strong), found in stood.items() if weak == subject and found and found[-1].end is None
        ),
    )


def spans(acts: Iterable[Act]) -> list[Span]:
    """When a link stood, in order; of a sign-in and a sign-out at one moment the sign-out is the later."""
    found: list[Span] = []
    start: datetime | None = None
    for act in sorted(acts, key=lambda act: (act.acted_at, act.state == "ended")):
        if act.state == "linked":
            start = act.acted_at if start is None else start
        elif start is not None:
            found.append(Span(start, act.acted_at))
            start = None
    return found if start is None else [*found, Span(start, None)]


def is_carried(decided: Decided, made_at: datetime, stood: Iterable[Span]) -> bool:
    """Whether a decision of a weaker subject is one of the stronger one as well: made, or received, while they were
    linked. Of a grant both are one moment; a denial is lost neither to a sign-out that overtakes it nor to a clock.
    """
    return any(span.holds(made_at) or span.holds(decided.rank) for span in stood)


def unite(
    own: Sequence[Answer], weaker: Sequence[Answer], stronger: Sequence[Answer], is_account: Callable[[Answer], bool]
) -> list[Answer]:
    """What stands for a person, in the order of the projection.

    1. Of the subject's own and those carried from weaker ones the highest; 2. but its own for a purpose of the account;
    3. above both what the account says of such a purpose. A grant that counts for nothing outranks nobody.
    """
    state: dict[tuple[str, str], Answer] = {}
    for answer in (*own, *weaker):
        standing = state.get(_key(answer))
        if standing is None or answer.decided.order > standing.decided.order:
            state[_key(answer)] = answer
    for answer in (*own, *sorted(stronger, key=lambda answer: answer.decided.order)):
        if is_account(answer) and (answer.decided.rank > LOWEST or _key(answer) not in state):
            state[_key(answer)] = answer
    return [state[key] for key in sorted(state)]


def of_several(stronger: Sequence[Answer], accounts: int) -> Sequence[Answer]:
    """What counts of the answers of so many accounts at one device: whose device it is now nobody knows, so that one
    account's permission is not another's; what withholds counts all the same.
    """
    return stronger if accounts == 1 else [a for a in stronger if a.decided.decision not in PERMISSIVE]


def _key(answer: Answer) -> tuple[str, str]:
    return answer.decided.purpose, answer.decided.legal_basis


class Scopes:
    """Whether a purpose is the account's or the device's, as its notice says and as it was known at one moment."""

    def __init__(self, scopes: Iterable[Scope], notices: Notices, at: datetime, known_at: datetime) -> None:
        found = [scope for scope in scopes if scope.published_at <= known_at]
        self._of_notice = {(scope.notice, scope.purpose): scope.scope for scope in found}
        self._of_site: dict[tuple[str, str], str] = {}
        for scope in sorted(found, key=lambda scope: (scope.published_at, scope.notice)):
            if scope.published_at <= at:
                self._of_site[scope.site, scope.purpose] = scope.scope
        self._notices = notices

    def is_account(self, answer: Answer) -> bool:
        """By the notice that was shown; for an answer to none, or none that is known, by the site's newest."""
        if answer.what is None:
            return False
        purpose, site = answer.decided.purpose, answer.what["site"]
        shown = None
        if "notice" in answer.what:
            shown = self._notices.standing_for(bytes.fromhex(answer.what["notice"]["sha256"]), site)
        scope = None if shown is None else self._of_notice.get((shown.notice, purpose))
        return (scope or self._of_site.get((site, purpose))) == "account"
