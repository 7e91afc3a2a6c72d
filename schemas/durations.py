"""Durations of the calendar kind, as ISO 8601 writes them (P6M, P1Y, P90D): whole years, months, weeks and days."""

import calendar
import re
from datetime import datetime, timedelta
from typing import Annotated, Final, NamedTuple, Self

from pydantic import AfterValidator, Field

_FORM: Final = re.compile(r"P(?:(\d{1,2})Y)?(?:(\d{1,3})M)?(?:(\d{1,3})W)?(?:(\d{1,4})D)?")


class Duration(NamedTuple):
    """Months, then days."""

    months: int
    days: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for another form, and for nothing at all."""
        match = _FORM.fullmatch(text)
        years, months, weeks, days = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
        if years + months + weeks + days == 0:
            raise ValueError("not a duration like P6M")
        return cls(12 * years + months, 7 * weeks + days)

    def after(self, moment: datetime) -> datetime:
        """The end of the duration: the same day of a later month, or its last where it has no such day."""
        months = moment.month - 1 + self.months
        year, month = moment.year + months // 12, months % 12 + 1
        day = min(moment.day, calendar.monthrange(year, month)[1])
        return moment.replace(year=year, month=month, day=day) + timedelta(days=self.days)


def _is_a_duration(text: str) -> str:
    Duration.parse(text)
    return text


DurationText = Annotated[str, Field(max_length=16), AfterValidator(_is_a_duration)]
