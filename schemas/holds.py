"""Legal holds (GDPR Art. 17(3)) and restrictions (Art. 18), as their records state them (docs/holds.md).

Members of `what` of the types hold.placed, hold.reviewed, hold.released, hold.applied (`hold`), restriction.placed and
restriction.lifted (`restriction`). Whose they are stands in `who`; why, and who did it, in `context`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Name, Text, Time, Uuid

# 17(3)(b): a legal obligation; 17(3)(e): a legal claim; 18(1)(c): the person needs the data for one; order: by an
# authority.
HoldGround = Literal["17(3)(b)", "17(3)(e)", "18(1)(c)", "order"]
# 18(1)(a): accuracy is contested; (b): unlawful, and the person opposes erasure; (c) as above; (d): an objection
# is open.
RestrictionGround = Literal["18(1)(a)", "18(1)(b)", "18(1)(c)", "18(1)(d)"]
# Nobody is held for longer without a new hold, nor without somebody looking at it again.
HOLD_YEARS_MAX: Final = 10
REVIEW_DAYS_MAX: Final = 366
PURPOSES_MAX: Final = 100


class _Stated(BaseModel):
    # Other members are another version's.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Placed(_Stated):
    """hold.placed: `hold` names it from now on. `everybody`: of the whole controller, not of the record's subject."""

    hold: Uuid
    ground: HoldGround
    case_reference: Text
    review_on: date
    expires_at: Time
    confidential: bool = False
    everybody: bool = False
    grant: Uuid | None = None


class Reviewed(_Stated):
    """hold.reviewed: somebody looked whether it is still needed, and until when."""

    hold: Uuid
    review_on: date
    expires_at: Time


class Released(_Stated):
    """hold.released: `approval` is the decision of two people that lifted it."""

    hold: Uuid
    approval: Uuid


class Applied(_Stated):
    """hold.applied: an erasure that was asked for on `erasure_ground` did not happen; it takes the ask's id."""

    hold: Uuid
    ground: HoldGround
    expires_at: Time
    confidential: bool = False
    erasure_ground: Text


class Restricted(_Stated):
    """restriction.placed: of these purposes; without any, of everything. restriction.lifted: what was placed with the
    same purposes and the same request.
    """

    ground: RestrictionGround | None = None
    purposes: Annotated[list[Name], Field(min_length=1, max_length=PURPOSES_MAX)] | None = None
    request: Uuid | None = None


def is_of_a_hold(what: Mapping[str, Any]) -> bool:
    """Whether a record is about a hold: the person sees of such a one the part `what` alone, no colleague's name."""
    return str(what["type"]).startswith("hold.")


def hides_from_subject(what: Mapping[str, Any]) -> bool:
    """Whether the person must not be told of this record: a confidential hold is in none of their answers or files."""
    return is_of_a_hold(what) and bool(what.get("hold", {}).get("confidential", False))
