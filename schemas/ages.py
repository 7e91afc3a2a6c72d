"""From which age on somebody may agree alone to a service of the information society (GDPR Art. 8(1)), by country.

Only over or under is ever stored, with the age that was asked for: nobody's birthday, nobody's age.
"""

from typing import Final

# Art. 8(1) where no national law says otherwise, and where the country is not known.
DEFAULT_AGE: Final = 16
# National laws under Art. 8(1), second sentence, by ISO 3166-1 alpha-2; the United Kingdom under its own GDPR, Art. 8.
NATIONAL_AGES: Final[dict[str, int]] = {
    "AT": 14,
    "BE": 13,
    "BG": 14,
    "CY": 14,
    "CZ": 15,
    "DE": 16,
    "DK": 15,
    "EE": 13,
    "ES": 14,
    "FI": 13,
    "FR": 15,
    "GB": 13,
    "GR": 15,
    "HR": 16,
    "HU": 16,
    "IE": 16,
    "IS": 13,
    "IT": 14,
    "LI": 16,
    "LT": 14,
    "LU": 16,
    "LV": 13,
    "MT": 13,
    "NL": 16,
    "NO": 13,
    "PL": 16,
    "PT": 13,
    "RO": 16,
    "SE": 13,
    "SI": 15,
    "SK": 16,
}


def minimum_age(notice: int | None, country: str | None) -> int:
    """The stricter of what the notice says and what the country's law says; 16 where neither is known.

    A notice cannot go below its reader's law, and a law does not loosen what the controller has told people.
    """
    national = None if country is None else NATIONAL_AGES.get(country, DEFAULT_AGE)
    known = [age for age in (notice, national) if age is not None]
    return max(known, default=DEFAULT_AGE)
