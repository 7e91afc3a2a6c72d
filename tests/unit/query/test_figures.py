"""Small counts: whatever somebody asks and subtracts, less than the smallest figure never comes out."""

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from services.query.figures.releasing import Count, Releasing, Tally

FIRST = date(2026, 11, 1)
SMALLEST = 5


def count(day: int, number: int, language: str = "fr", act: str = "granted") -> Count:
    return Count(FIRST + timedelta(days=day), "shop.example", "p", "ab", language, act, number)


def pieces(counts: Iterable[Count], complete_until: int = 100) -> list[tuple[int, str, int]]:
    releasing = Releasing(SMALLEST, FIRST + timedelta(days=complete_until))
    found = [releasing.piece(one) for one in counts]
    return [((p.day - FIRST).days, p.language, p.number) for p in found if p is not None]


def test_a_day_shows_what_was_held_back_once_it_is_enough() -> None:
    assert pieces([count(0, 3), count(1, 1), count(2, 4), count(3, 7), count(4, 2)]) == [(2, "fr", 8), (3, "fr", 7)]


def test_a_series_never_adds_to_another() -> None:
    assert pieces([count(0, 4), count(0, 4, "de"), count(1, 1, "de")]) == [(1, "de", 5)]
    assert pieces([count(0, 4), count(0, 4, act="denied")]) == []


def test_a_day_that_still_counts_grows_in_steps() -> None:
    shown = [sum(n for *_, n in pieces([count(0, 3), count(1, number)], complete_until=0)) for number in range(1, 13)]
    assert shown == [0, 5, 5, 5, 5, 5, 10, 10, 10, 10, 10, 15]


numbers = st.lists(st.integers(1, 12), min_size=1, max_size=8)


@given(st.dictionaries(st.sampled_from(["fr", "de", "pt-BR"]), numbers, min_size=1))
def test_no_two_answers_differ_by_less(series: dict[str, list[int]]) -> None:
    """Every window of days and every choice of languages is an answer; so is any sum of them."""
    counts = [count(day, n, language) for language in sorted(series) for day, n in enumerate(series[language])]
    found = pieces(counts)
    windows = list(combinations(range(9), 2))
    answers = {
        sum(n for day, language, n in found if first <= day < end and language in chosen)
        for first, end in windows
        for size in range(1, 4)
        for chosen in combinations(sorted(series), size)
    }
    assert all(n >= SMALLEST for *_, n in found)
    assert all(answer == 0 or answer >= SMALLEST for answer in answers)
    # What is held back is less than the smallest figure, of each series.
    assert all(
        sum(numbers) - sum(n for _, one, n in found if one == language) < SMALLEST
        for language, numbers in series.items()
    )


def test_a_rate_needs_both_of_its_counts() -> None:
    tally = Tally()
    tally.add(count(0, 30))
    assert tally.shown() == {
        **dict.fromkeys(("shown", "denied", "withdrawn", "objected", "not_objected", "told")),
        "granted": 30,
        "rates": {"consent": None, "refusal": None, "withdrawal": None},
    }
    tally.add(count(0, 10, act="denied"))
    tally.add(count(0, 6, act="withdrawn"))
    assert tally.shown()["rates"] == {"consent": 0.75, "refusal": 0.25, "withdrawal": 0.2}
