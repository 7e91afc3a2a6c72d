"""What callers send about holds, as closed models, and the limits of a hold's dates."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.durations import Duration
from schemas.errors import InvalidParameter
from schemas.events import OnlyTrue, Text, Time, parse_time
from schemas.holds import HOLD_YEARS_MAX, REVIEW_DAYS_MAX, HoldGround

_LONGEST: Final = Duration(12 * HOLD_YEARS_MAX, 0)
_REASON: Final = Field(description="Why; kept in the record under the person's key.")
_REVIEW_ON: Final = Field(description=f"The day by which somebody looks again: within {REVIEW_DAYS_MAX} days.")
_EXPIRES_AT: Final = Field(description=f"When it ends by itself: within {HOLD_YEARS_MAX} years.")


class _Dated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    review_on: Annotated[date, _REVIEW_ON]
    expires_at: Annotated[Time, _EXPIRES_AT]

    def check(self, now: datetime) -> None:
        """Raise InvalidParameter unless it ends, and is looked at before that."""
        expires_at = parse_time(self.expires_at)
        if not now < expires_at <= _LONGEST.after(now):
            raise InvalidParameter("/expires_at")
        today = now.astimezone(UTC).date()
        if not today <= self.review_on <= min(expires_at.date(), today + timedelta(days=REVIEW_DAYS_MAX)):
            raise InvalidParameter("/review_on")

    def members(self) -> dict[str, Any]:
        """As the events state them."""
        return {"review_on": self.review_on.isoformat(), "expires_at": self.expires_at}


class HoldBody(_Dated):
    """A hold of one person, of everybody that a grant is about, or of everybody."""

    subject: UUID | None = None
    grant: UUID | None = None
    everybody: OnlyTrue | None = None
    ground: HoldGround
    case_reference: Annotated[Text, Field(description="The case, as the controller or the authority calls it.")]
    reason: Annotated[Text, _REASON]
    confidential: Annotated[bool, Field(description="The person must not be told that there is one.")] = False

    def check(self, now: datetime) -> None:
        """The same, and that exactly one member says whose it is."""
        if sum(one is not None for one in (self.subject, self.grant, self.everybody)) != 1:
            raise InvalidParameter("/subject")
        super().check(now)


class ReviewBody(_Dated):
    """It is still needed; or not so long any more."""

    reason: Annotated[Text, _REASON]


class ReleaseHoldBody(BaseModel):
    """It is not needed any more, says the first of two people."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    reason: Annotated[Text, Field(description="Why; names nobody.")]
