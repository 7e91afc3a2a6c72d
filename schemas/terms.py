"""What a controller states about how it answers people: its clock, its holidays, its promises, its authority.

Nothing here has a default that favours the controller: left out, the law's own period counts and nothing is promised.
"""

from datetime import date
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.canonical import canonical_json
from schemas.durations import DurationText
from schemas.errors import InvalidValue
from schemas.events import Text

HOLIDAYS_MAX: Final = 20
CLOSED_DAYS_MAX: Final = 400


def _is_a_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("not a time zone of the IANA database") from None
    return text


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Holidays(_Closed):
    """Whose public holidays count (ISO 3166-1 alpha-2, and a subdivision as ISO 3166-2 has it behind the hyphen)."""

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    subdivision: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,3}$")] | None = None


class Authority(_Closed):
    """The supervisory authority that a person may complain to (GDPR Art. 77)."""

    name: Text
    url: Text
    address: Text | None = None


class MassErasure(_Closed):
    """More erasures than `above` within 24 hours need two people and a delay."""

    above: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    delay: DurationText = "P1D"


class Terms(_Closed):
    """One controller's statements; the latest counts, and a request keeps the date due by those of its day."""

    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_is_a_zone)] = "UTC"
    holidays: Annotated[list[Holidays], Field(max_length=HOLIDAYS_MAX)] = []
    closed_days: Annotated[list[date], Field(max_length=CLOSED_DAYS_MAX)] = []
    # What the controller told people: an answer within this time (a policy's "30 days" is P30D).
    promise: DurationText | None = None
    authority: Authority | None = None
    # What a person may do against a refusal, besides the complaint: the judicial remedy of GDPR Art. 79.
    remedy: Text | None = None
    mass_erasure: MassErasure = MassErasure()
    # How long an erased person's objection is remembered, by a keyed name.
    suppression: DurationText = "P3Y"
    # How long the access log is kept.
    access_log_days: Annotated[int, Field(ge=30, le=3650)] = 365
    # Smaller counts than this are not shown in figures.
    smallest_figure: Annotated[int, Field(ge=1, le=1000)] = 5

    @model_validator(mode="after")
    def _holidays_once(self) -> Self:
        if len({(h.country, h.subdivision) for h in self.holidays}) != len(self.holidays):
            raise ValueError("the same holidays twice")
        return self

    def content(self) -> bytes:
        """The canonical bytes that are stored."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))


def read_terms(content: bytes | None) -> Terms:
    """Terms as they are stored; the defaults where a controller has stated none. Raises InvalidValue."""
    if content is None:
        return Terms()
    try:
        return Terms.model_validate_json(content)
    except ValidationError as error:
        raise InvalidValue("/" + "/".join(str(step) for step in error.errors(include_input=False)[0]["loc"])) from None
