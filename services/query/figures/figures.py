"""Figures of one controller, by day, site, purpose, notice, version or language (docs/state.md)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from schemas.terms import read_terms
from services.postgres import Pool, controller_transaction, named_queries
from services.query.auth import Caller
from services.query.figures.releasing import Count, Releasing, Tally
from services.query.store import Row

By = Literal["day", "site", "purpose", "notice", "version", "language"]
# What was received before midnight is recorded by then.
LATE: Final = timedelta(hours=1)
DAYS_DEFAULT: Final = 30

_QUERIES: Final = named_queries(Path(__file__).parents[1] / "sql" / "figures.sql")


@dataclass(frozen=True, slots=True)
class Asked:
    """Both days belong to the time asked about; None: today, and thirty days up to `until`."""

    first: date | None
    until: date | None
    site: str | None
    purpose: str | None
    by: By | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Reads counts."""

    pool: Pool

    async def answer(self, caller: Caller, asked: Asked, now: datetime) -> dict[str, Any]:
        """Totals, and a row for each value of `by`. `now` is aware."""
        until = asked.until or now.astimezone(UTC).date()
        first = asked.first or until - timedelta(days=DAYS_DEFAULT - 1)
        complete_until = (now.astimezone(UTC) - LATE).date() - timedelta(days=1)
        totals, rows = Tally(), defaultdict[Any, Tally](Tally)
        async with controller_transaction(self.pool, caller.controller) as connection:
            smallest = read_terms(await connection.fetchval(_QUERIES["terms"], caller.controller)).smallest_figure
            names = {row["notice"]: row for row in await connection.fetch(_QUERIES["notice_names"], caller.controller)}
            # From the first day on, because of what the days before hold back; row by row, however many there are.
            releasing = Releasing(smallest, complete_until)
            async for row in connection.cursor(_QUERIES["counts"], caller.controller, until, asked.site, asked.purpose):
                piece = releasing.piece(Count(*row))
                if piece is not None and piece.day >= first:
                    totals.add(piece)
                    rows[_key(asked.by, piece, names)].add(piece)
        answer: dict[str, Any] = {
            "from": first.isoformat(),
            "until": until.isoformat(),
            "smallest": smallest,
            "complete_until": complete_until.isoformat(),
            "totals": totals.shown(),
        }
        if asked.by is not None:
            answer["by"] = asked.by
            answer["rows"] = [{**_named(asked.by, one, names), **rows[one].shown()} for one in sorted(rows)]
        return answer


def _key(by: By | None, piece: Count, names: Mapping[str, Row]) -> tuple[str, ...]:
    if by == "version":
        named = names.get(piece.notice)
        return ("", "") if named is None else (named["notice_id"], named["version"])
    return () if by is None else (str(getattr(piece, by)),)


def _named(by: By, key: tuple[str, ...], names: Mapping[str, Row]) -> dict[str, str | None]:
    """What a row is about; None stands for acts without it: words that nobody published, acts of no one purpose."""
    if by == "version":
        return {"notice_id": key[0] or None, "version": key[1] or None}
    (value,) = key
    about: dict[str, str | None] = {by: value or None}
    if by == "notice":
        named = names.get(value)
        about |= {name: None if named is None else named[name] for name in ("notice_id", "version")}
    return about
