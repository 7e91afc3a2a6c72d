"""How a count is shown, so that no small number of people is found in it, nor in the difference of two answers. Pure.

Invariant: whatever is asked, every number is a sum of pieces that are fixed once and for all, each of them at least the
smallest figure; so no subtraction of answers (of other days, sites, purposes, languages; of now and a minute ago)
leaves less than that.
"""

from collections import defaultdict
from datetime import date
from typing import Final, NamedTuple

ACTS: Final = ("shown", "granted", "denied", "withdrawn", "objected", "not_objected", "told")


class Count(NamedTuple):
    """One row of the figures."""

    day: date
    site: str
    purpose: str
    notice: str
    language: str
    act: str
    number: int


class Releasing:
    """Takes the counts series by series, in the order of the days."""

    def __init__(self, smallest: int, complete_until: date) -> None:
        """`complete_until`: the last day to which nothing is added any more."""
        self._smallest = smallest
        self._complete_until = complete_until
        self._series: tuple[object, ...] = ()
        self._held = 0

    def piece(self, count: Count) -> Count | None:
        """What is shown because of this count, None while it is held back.

        1. A day that is over shows what it and the days before it held back, once that is `smallest` or more; 2. a day
        that still counts grows in steps of `smallest`.
        """
        if count[1:6] != self._series:
            self._series, self._held = count[1:6], 0
        self._held += count.number
        piece = self._held if count.day <= self._complete_until else self._held - self._held % self._smallest
        if piece < self._smallest:
            return None
        self._held -= piece
        return count._replace(number=piece)


class Tally:
    """The sums of one row of an answer."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = defaultdict(int)

    def add(self, count: Count) -> None:
        self._sums[count.act] += count.number

    def shown(self) -> dict[str, object]:
        """Each act's count, None where it is nothing or too small to be told apart from nothing; and the rates."""
        counts = {act: self._sums.get(act) for act in ACTS}
        granted, denied, withdrawn = (counts[act] for act in ("granted", "denied", "withdrawn"))
        answered = None if granted is None or denied is None else granted + denied
        rates = {
            "consent": _rate(granted, answered),
            "refusal": _rate(denied, answered),
            "withdrawal": _rate(withdrawn, granted),
        }
        return {**counts, "rates": rates}


def _rate(part: int | None, whole: int | None) -> float | None:
    return None if part is None or whole is None else round(part / whole, 4)
