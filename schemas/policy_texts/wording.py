"""Fixed words in the four languages, and what Babel writes in them: durations, countries, languages, lists."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import yaml
from babel import Locale
from babel.lists import format_list
from babel.units import format_unit

from schemas.catalogue.service import LANGUAGES, CatalogueLanguage, said

_LABELS: Final = Path(__file__).parent / "labels"
_UNITS: Final = {"Y": "year", "M": "month", "W": "week", "D": "day"}
_TIME_UNITS: Final = {"H": "hour", "M": "minute", "S": "second"}
_PIECE: Final = re.compile(r"([0-9]+)([YMWDHS])")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text and the language it really is in, which is not always the one that was asked for."""

    text: str
    language: str


def served_language(requested: str | None) -> CatalogueLanguage:
    """The one of the four languages for a language tag; English for every other one and for none."""
    wanted = "" if requested is None else requested.partition("-")[0].lower()
    return next((language for language in LANGUAGES if language == wanted), "en")


@cache
def labels(language: CatalogueLanguage) -> Mapping[str, str]:
    """The fixed words of a language by their names, the same names in each."""
    found: dict[str, str] = yaml.safe_load((_LABELS / f"{language}.yaml").read_text(encoding="utf-8"))
    return found


class Wording:
    """Everything that is written in one language."""

    def __init__(self, language: CatalogueLanguage) -> None:
        self.language = language
        self._locale = Locale.parse(language)

    def __getitem__(self, label: str) -> str:
        """A fixed word. Raises KeyError for a label that does not exist."""
        return labels(self.language)[label]

    def named(self, names: Iterable[str]) -> str:
        """A list of names, each as this language has it if it has one of its own."""
        return self.listed(labels(self.language).get(name, name) for name in names)

    def phrase(self, words: Mapping[CatalogueLanguage, str]) -> Phrase:
        """A text of the catalogue in this language, else in the one it falls back to."""
        return Phrase(*said(words, self.language))

    def own(self, text: str) -> Phrase:
        """Words that are the same, or already right, in this language."""
        return Phrase(text, self.language)

    def country(self, code: str) -> str:
        """The country's name; its code where the language data has none."""
        return str(self._locale.territories.get(code, code))

    def language_name(self, code: str) -> str:
        """The language's name in this one."""
        return str(self._locale.languages.get(code, code))

    def listed(self, items: Iterable[str]) -> str:
        """A list as people write it: a, b and c."""
        return format_list(list(items), locale=self._locale)

    def lifetime(self, lifetime: str) -> str:
        """`session` or an ISO 8601 duration (P1Y, P1Y6M, PT30M), in words."""
        units = _TIME_UNITS if lifetime.startswith("PT") else _UNITS
        pieces = [
            format_unit(int(number), f"duration-{units[unit]}", "long", locale=self._locale)
            for number, unit in _PIECE.findall(lifetime)
            if int(number) > 0
        ]
        return self.listed(pieces) if pieces else self["session"]
