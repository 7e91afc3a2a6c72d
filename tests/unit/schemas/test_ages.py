"""Which age counts: the stricter of the notice and the country, and 16 where neither is known."""

import pytest

from schemas.ages import DEFAULT_AGE, NATIONAL_AGES, minimum_age

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("notice", "country", "age"),
    [
        (None, None, 16),
        (None, "DE", 16),
        (None, "FR", 15),
        (None, "BE", 13),
        (13, None, 13),  # nobody knows the country: what people were told counts
        (13, "FR", 15),  # a notice does not go below the law
        (16, "BE", 16),  # the law does not loosen what people were told
        (18, "AT", 18),
        (None, "US", 16),  # no law of Art. 8: the Regulation's own age
        (13, "US", 16),
    ],
)
def test_the_stricter_counts(notice: int | None, country: str | None, age: int) -> None:
    assert minimum_age(notice, country) == age


def test_no_law_goes_below_what_the_regulation_allows() -> None:
    assert set(NATIONAL_AGES.values()) <= set(range(13, DEFAULT_AGE + 1))
    # The 27 members of the Union, the three of the EEA, and the United Kingdom.
    assert len(NATIONAL_AGES) == 27 + 3 + 1
