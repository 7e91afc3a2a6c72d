"""What is new or different in a version of a notice for somebody who answered the version before. Pure.

What is asked no more changes nothing: a consent that nobody relies on takes nothing from anyone.
"""

from collections.abc import Sequence
from typing import Final

from schemas.events import Language
from schemas.notice_making.source import ChangeKind, SourcePurpose
from schemas.notices import NoticeContent, NoticePurpose

_ORDER: Final[tuple[ChangeKind, ...]] = (
    "purpose", "service", "recipient", "legal_basis", "scope", "validity", "words",
)  # fmt: skip


def changes_since(
    before: NoticeContent,
    purposes: Sequence[SourcePurpose | NoticePurpose],
    words: tuple[Language, tuple[str | None, str | None, str | None]],
) -> list[ChangeKind]:
    """What differs from the version before. `words` are title, text and withdrawal in one language; those of another
    language are not compared.
    """
    found: set[ChangeKind] = set()
    asked = {purpose.purpose: purpose for purpose in before.purposes}
    for purpose in purposes:
        known = asked.get(purpose.purpose)
        if known is None:
            found.add("purpose")
            continue
        found |= _differences(purpose, known)
    language, texts = words
    if before.language == language and texts != (before.title, before.text, before.withdrawal):
        found.add("words")
    return [kind for kind in _ORDER if kind in found]


def changes_between(before: NoticeContent, after: NoticeContent) -> list[ChangeKind]:
    """What a published notice changes for those who answered the one before."""
    return changes_since(before, after.purposes, (after.language, (after.title, after.text, after.withdrawal)))


def _differences(purpose: SourcePurpose | NoticePurpose, known: NoticePurpose) -> set[ChangeKind]:
    found: set[ChangeKind] = set()
    if not set(purpose.services) <= set(known.services):
        found.add("service")
    if not set(purpose.recipients or ()) <= set(known.recipients or ()):
        found.add("recipient")
    if purpose.legal_basis != known.legal_basis:
        found.add("legal_basis")
    if purpose.scope != known.scope:
        found.add("scope")
    if purpose.validity != known.validity:
        found.add("validity")
    return found
