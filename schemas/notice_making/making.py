"""Making the notices of a source: one for each language it has, each naming what was not translated.

Invariant: what is published is only what was made here from the source and the version before; the same source after
the same version makes the same bytes, and so the same names.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from schemas.catalogue import services as catalogue
from schemas.events import Language
from schemas.notice_making.changes import changes_since
from schemas.notice_making.rendering import render
from schemas.notice_making.source import ChangeKind, NoticeSource, NoticeWords, PurposeWords
from schemas.notices import NoticeContent, notice_bytes


class Made(NamedTuple):
    """One notice: its language, its canonical bytes, and how it differs from the version before it."""

    language: Language
    content: bytes
    changes: Sequence[ChangeKind]


W = TypeVar("W", NoticeWords, PurposeWords)


def make_notices(source: NoticeSource, published: Sequence[NoticeContent]) -> list[Made]:
    """The notices of a source, in the order of its texts. `published` has the notices of its site, the oldest first.

    1. Find the version before; 2. see what changed and whether that asks again; 3. for each language put the words in,
    those of the fallback language where there are none; 4. render, and freeze. Raises InvalidValue.
    """
    before = _version_before(source, published)
    whole = source.texts[source.fallback_language]
    words = source.fallback_language, (whole.title, whole.text, whole.withdrawal)
    changes = [] if before is None else changes_since(before, source.purposes, words)
    asks_again = any(change in source.ask_again_when for change in changes)
    return [Made(language, _make(source, language, asks_again=asks_again), changes) for language in source.texts]


def _version_before(source: NoticeSource, published: Sequence[NoticeContent]) -> NoticeContent | None:
    """The latest other version, in the fallback language if it has that."""
    family = [notice for notice in published if notice.notice_id == source.notice and notice.version != source.version]
    if not family:
        return None
    last = [notice for notice in family if notice.version == family[-1].version]
    return next((notice for notice in last if notice.language == source.fallback_language), last[-1])


def _make(source: NoticeSource, language: Language, *, asks_again: bool) -> bytes:
    untranslated: list[str] = []
    words = _words(source.texts, language, source.fallback_language, "", untranslated)
    purposes = []
    for number, purpose in enumerate(source.purposes):
        texts = _words(purpose.texts, language, source.fallback_language, f"/purposes/{number}", untranslated)
        facts = purpose.model_dump(exclude_none=True, exclude={"texts"})
        purposes.append(facts | texts)
    content: dict[str, Any] = {
        "v": 1,
        "notice_id": source.notice,
        "language": language,
        "asks_again": asks_again,
        "languages": list(source.texts),
        "purposes": purposes,
        **words,
    }
    same = {"version", "fallback_language", "controller", "authority", "minimum_age", "jurisdiction", "effective_at"}
    content |= source.model_dump(exclude_none=True, include=same | {"policy_url", "ui_sha256"})
    if untranslated:
        content["untranslated"] = untranslated
    content["html"] = render(NoticeContent.model_validate(content), _names(source))
    return notice_bytes(content)


def _words(
    texts: Mapping[Language, W], language: Language, fallback: Language, place: str, untranslated: list[str]
) -> dict[str, str]:
    """Every text in the language, or in the fallback language with its place added to `untranslated`."""
    own = texts[language].model_dump(exclude_none=True) if language in texts else {}
    whole: dict[str, str] = texts[fallback].model_dump()
    untranslated += [f"{place}/{name}" for name in whole if name not in own]
    return whole | own


def _names(source: NoticeSource) -> dict[str, str]:
    """Services as people know them, where the catalogue has them."""
    named = {service for purpose in source.purposes for service in purpose.services}
    return {service: catalogue()[service].name for service in named if service in catalogue()}
