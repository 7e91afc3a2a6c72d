"""Requests of data subjects (GDPR Art. 12 to 22): what the steps of one say in the `request` of their `what`.

Query writes these members, the ledger projects them and reads no others. A request is named by the id of the event that
it came in with.
"""

from datetime import date
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Right

State = Literal["received", "identity", "paused", "working", "answered", "refused", "withdrawn"]

# The step that each type of event is, by the state it leads to; None leaves the state as it is.
STEPS: Final[dict[str, State | None]] = {
    "request.identity": "identity",
    "request.verified": "working",
    "request.paused": "paused",
    "request.resumed": "working",
    "request.extended": "working",
    "request.answered": "answered",
    "request.refused": "refused",
    "request.withdrawn": "withdrawn",
    "request.reminded": None,
    "request.told": None,
}
CLOSED: Final[frozenset[str]] = frozenset({"answered", "refused", "withdrawn"})
# The clock stands still.
STOPPED: Final[frozenset[str]] = frozenset({"identity", "paused"})
# How somebody who asks over the site's own account or browser was shown to be who they say (`actor.auth`).
SHOWN: Final[frozenset[str]] = frozenset({"capability", "session", "eid"})


DAYS_MAX: Final = 36_500


class _Read(BaseModel):
    """What else stands there is for people."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Received(_Read):
    """How a request came in. The days are stated by query, which knows when a letter arrived; else they are counted."""

    right: Right
    about: Literal["child"] | None = None
    received_on: date | None = None
    due_on: date | None = None


class Step(_Read):
    """One step: the `nth` of its request, so that of two people who act at once one is too late."""

    request: UUID
    nth: Annotated[int, Field(ge=1)]
    # The day that it holds from: of an identity check or a pause, the day on which the clock stopped.
    on: date | None = None
    due_on: date | None = None
    # All days on which the clock has stood still by now.
    paused_days: Annotated[int, Field(ge=0, le=DAYS_MAX)] | None = None
