"""Where a request stands, and which step it may take: the rules of docs/requests.md, pure.

Invariant: a rule gives the members of the step's event or raises RequestStepNotPossible; nothing else decides. Every
date that a person is held to is counted by the terms that stood when the request came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from schemas.record import format_time
from schemas.requests import CLOSED
from schemas.rights_errors import RequestStepNotPossible
from services.deadlines import Counting, due_on, ends_at, law_ends
from services.query.grants.scope import REPORTER
from services.query.requests.bodies import (
    ExtendBody,
    IdentityBody,
    PauseBody,
    RefusalGround,
    ResumeBody,
    ToldBody,
    VerifiedBody,
)

# Recital 63 lets the clock stand still for requests to see data; nobody else may be asked "which?" at the clock's cost.
_SEEING: Final = frozenset({"access", "portability"})
_WORKED_ON: Final = frozenset({"received", "working"})
# Grounds of a refusal by what is asked for; these hold for each.
_COMMON: Final[frozenset[RefusalGround]] = frozenset({"11(2)", "12(5)(b)", "23"})
REFUSALS: Final[dict[str, frozenset[RefusalGround]]] = {
    "access": _COMMON | {"15(4)"},
    "rectification": _COMMON | {"16"},
    "erasure": _COMMON | {"17(1)", "17(3)(a)", "17(3)(b)", "17(3)(c)", "17(3)(d)", "17(3)(e)"},
    "restriction": _COMMON | {"18(1)"},
    "portability": _COMMON | {"20(1)", "20(3)", "20(4)"},
    "objection": _COMMON | {"21(1)", "21(6)"},
    # Art. 7(3): at any time. Only of somebody whom nothing identifies.
    "withdrawal": frozenset({"11(2)"}),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A request, how its days are counted, and what day it is there."""

    row: Mapping[str, Any]
    counting: Counting
    now: datetime

    @property
    def today(self) -> date:
        return self.counting.day_of(self.now)

    @property
    def request(self) -> UUID:
        return UUID(int=self.row["request"].int)

    @property
    def subject(self) -> UUID | None:
        return None if self.row["subject"] is None else UUID(int=self.row["subject"].int)

    @property
    def is_erased(self) -> bool:
        """Whether this request was answered by an erasure, whose docket waits until the person was told."""
        row = self.row
        return row["docket"] is not None and row["asked_for"] == "erasure" and row["state"] == "answered"

    @property
    def due_on(self) -> date:
        """While the clock stands still: the day it would be if the person answered today."""
        return self._due(self._paused_by(self.today)) if self.row["paused_on"] is not None else self.row["due_on"]

    @property
    def is_overdue(self) -> bool:
        row = self.row
        if row["closed_at"] is not None or row["paused_on"] is not None:
            return False
        return self.now >= ends_at(row["due_on"], self.counting)

    def _paused_by(self, day: date) -> int:
        stopped: int = self.row["paused_days"]
        return stopped + (0 if self.row["paused_on"] is None else max(0, (day - self.row["paused_on"]).days))

    def _due(self, paused_days: int, *, is_extended: bool | None = None) -> date:
        extended = self.row["is_extended"] if is_extended is None else is_extended
        return due_on(self.row["received_on"], self.counting, is_extended=extended, paused_days=paused_days)

    def members(self, **said: Any) -> dict[str, Any]:
        """The `request` of the next step; of somebody who was erased with the number of the docket, and no more."""
        docket = self.row["docket"]
        step: dict[str, Any] = {"request": str(self.request), "nth": self.row["steps"]}
        if docket is not None:
            step["docket"] = docket
        for name, value in said.items():
            if value is not None:
                step[name] = value.isoformat() if isinstance(value, date) else value
        return step

    # The steps.

    def ask_identity(self, body: IdentityBody) -> dict[str, Any]:
        """At once or never: as the first step, by the end of the working day after the request was recorded, and of
        nobody who was shown to be who they say.
        """
        recorded_on = self.counting.day_of(self.row["received_at"])
        self._allow(
            self.row["state"] == "received"
            and self.row["steps"] == 1
            and not self.row["is_known"]
            and self.today <= _next_working_day(recorded_on, self.counting)
        )
        return self.members(method=body.method, on=self.today)

    def verify(self, body: VerifiedBody) -> dict[str, Any]:
        """Shown or not, the clock runs again from the day of the person's answer."""
        self._allow(self.row["state"] == "identity")
        return self._resumed(body.on, method=body.method, outcome=body.outcome)

    def pause(self, body: PauseBody) -> dict[str, Any]:
        """Not once it is overdue: the clock cannot be stopped behind its end."""
        self._allow(self.row["state"] in _WORKED_ON and not self.is_overdue)
        self._allow(body.ground != "which_data" or self.row["asked_for"] in _SEEING)
        return self.members(ground=body.ground, on=self.today)

    def resume(self, body: ResumeBody) -> dict[str, Any]:
        self._allow(self.row["state"] == "paused")
        return self._resumed(body.on)

    def extend(self, body: ExtendBody) -> dict[str, Any]:
        """Once, and only if the person was told, with the reasons, before the first month was over (Art. 12(3))."""
        row = self.row
        first_ends = law_ends(row["received_on"], self.counting, paused_days=row["paused_days"])
        self._allow(row["state"] in _WORKED_ON and not row["is_extended"])
        self._allow(row["received_on"] <= body.told_on <= self.today <= first_ends)
        due = self._due(row["paused_days"], is_extended=True)
        return self.members(reason=body.reason, told_on=body.told_on, due_on=due)

    def answer(self) -> dict[str, Any]:
        self._allow(self.row["state"] in _WORKED_ON)
        return self.members()

    def refuse(self, ground: RefusalGround) -> dict[str, Any]:
        self._allow(self.row["state"] not in CLOSED and ground in REFUSALS[self.row["asked_for"]])
        return self.members(ground=ground)

    def withdraw(self) -> dict[str, Any]:
        self._allow(self.row["state"] not in CLOSED)
        return self.members()

    def tell(self, body: ToldBody) -> dict[str, Any]:
        on = body.on or self.today
        self._allow(self.row["state"] in CLOSED or self.row["is_extended"])
        self._allow(self.row["received_on"] <= on <= self.today)
        step = self.members(channel=body.channel, on=on)
        if not self.is_erased:
            # The docket waits for whoever asked for the erasure, and for its answer.
            step.pop("docket", None)
        return step

    def _resumed(self, on: date | None, **said: Any) -> dict[str, Any]:
        day = on or self.today
        self._allow(self.row["paused_on"] <= day <= self.today)
        paused_days = self._paused_by(day)
        return self.members(**said, on=day, paused_days=paused_days, due_on=self._due(paused_days))

    def _allow(self, is_possible: bool) -> None:  # noqa: FBT001 - what is checked is the one thing said
        if not is_possible:
            raise RequestStepNotPossible

    def describe(self) -> dict[str, Any]:
        """As the API shows it, without the steps; members that do not apply are left out."""
        row = self.row
        shown: dict[str, Any] = {
            "request": str(self.request),
            "asked_for": row["asked_for"],
            "state": row["state"],
            "site": row["site"],
            "received_on": row["received_on"].isoformat(),
            "received_at": format_time(row["received_at"]),
            "due_on": self.due_on.isoformat(),
            "overdue": self.is_overdue,
            "extended": row["is_extended"],
            "about": row["about"],
            "known": row["is_known"],
            "paused_days": self._paused_by(self.today),
        }
        if row["about"] is None:
            del shown["about"]
        if self.subject is not None:
            shown["subject"] = str(self.subject)
        if row["docket"] is not None:
            shown["docket"] = row["docket"]
        if row["paused_on"] is not None:
            shown["paused_on"] = row["paused_on"].isoformat()
        if row["closed_at"] is not None:
            shown["closed_at"] = format_time(row["closed_at"])
        return shown


def said_of(what: Mapping[str, Any]) -> dict[str, Any]:
    """What a step says, without what only numbers it."""
    said = what.get("request")
    if not isinstance(said, dict):
        return {}
    return {name: value for name, value in said.items() if name not in {"request", "nth"}}


def reply_to_in(step: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Where the answer goes, as the step says that a request came in with; a report has an address alone."""
    stated: Mapping[str, Any] | None = step.get("reply_to")
    reported = step.get("ext", {}).get(REPORTER)
    return {"address": reported} if stated is None and reported is not None else stated


def now_utc() -> datetime:
    return datetime.now(UTC)


def _next_working_day(day: date, counting: Counting) -> date:
    day += timedelta(days=1)
    while not counting.is_working(day):
        day += timedelta(days=1)
    return day
