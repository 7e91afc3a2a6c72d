"""Making the notices of a source: one for each language it has, each naming what was not translated.

Invariant: what is published is only what was made here from the source and the version before; the same source after
the same version makes the same bytes, and so the same names.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from schemas.catalogue import services as catalogue
from schemas.events import Language
from schemas.notice_making.rendering import render
from schemas.notice_making.source import ChangeKind, NoticeSource, NoticeWords, PurposeWords, SourcePurpose
from schemas.notices import NoticeContent, NoticePurpose, notice_bytes


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
    changes = [] if before is None else _changes(source, before)
    asks_again = any(change in source.ask_again_when for change in changes)
    return [Made(language, _make(source, language, asks_again=asks_again), changes) for language in source.texts]


def _version_before(source: NoticeSource, published: Sequence[NoticeContent]) -> NoticeContent | None:
    """The latest other version, in the fallback language if it has that."""
    family = [notice for notice in published if notice.notice_id == source.notice and notice.version != source.version]
    if not family:
        return None
    last = [notice for notice in family if notice.version == family[-1].version]
    return next((notice for notice in last if notice.language == source.fallback_language), last[-1])


def _changes(source: NoticeSource, before: NoticeContent) -> list[ChangeKind]:
    """What is new or different for somebody who answered the version before; what is asked no more, changes nothing."""
    found: set[ChangeKind] = set()
    asked = {purpose.purpose: purpose for purpose in before.purposes}
    for purpose in source.purposes:
        known = asked.get(purpose.purpose)
        if known is None:
            found.add("purpose")
            continue
        found |= _differences(purpose, known)
    if before.language == source.fallback_language:
        words = source.texts[source.fallback_language]
        if (words.title, words.text, words.withdrawal) != (before.title, before.text, before.withdrawal):
            found.add("words")
    order: tuple[ChangeKind, ...] = (
        "purpose", "service", "recipient", "legal_basis", "scope", "validity", "words",
    )  # fmt: skip
    return [kind for kind in order if kind in found]


def _differences(purpose: SourcePurpose, known: NoticePurpose) -> set[ChangeKind]:
    found: set[ChangeKind] = set()
    if not set(purpose.services) <= set(known.services):
        found.add("service")
    if not set(purpose.recipients or ()) <= set(known.recipients or ()):
        found.add("recipient")
    if purpose.legal_basis != known.legal_basis:
        found.add("legal_basis")
    if purpose.scope != known.scope:
        found.add("scope")
    if purpose.valid_for != known.validity:
        found.add("validity")
    return found


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
