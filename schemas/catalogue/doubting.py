"""Where a notice and the catalogue disagree: sentences for whoever publishes the notice."""

from collections.abc import Iterable, Mapping

from schemas.catalogue.reading import services, usual_purposes
from schemas.catalogue.service import Service
from schemas.notices import NoticeContent


def doubts(notice: NoticeContent, known: Mapping[str, Service] | None = None) -> list[str]:
    """One sentence each; none of them forbids publishing the notice. `known` is our catalogue if it is left out."""
    catalogue = services() if known is None else known
    found: list[str] = []
    for asked in notice.purposes:
        usual = usual_purposes().get(asked.purpose)
        if usual is not None and asked.legal_basis not in usual.legal_basis:
            found.append(_other_basis(asked.purpose, asked.legal_basis, "this purpose", usual.legal_basis))
        for name in asked.services:
            service = catalogue.get(name)
            if service is None:
                found.append(f"{asked.purpose}: the service {name} is not in the catalogue")
                continue
            if service.uses is None:
                # No source says what it is used for: that a notice does is nothing to doubt.
                continue
            use = next((use for use in service.uses if use.use == asked.purpose), None)
            if use is None:
                found.append(f"{asked.purpose}: the catalogue does not know this use of {service.name}")
            elif asked.legal_basis not in use.legal_basis:
                found.append(_other_basis(asked.purpose, asked.legal_basis, service.name, use.legal_basis))
    return found


def _other_basis(purpose: str, stated: str, of: str, known: Iterable[str]) -> str:
    return f"{purpose}: the notice rests on {stated}; for {of} the catalogue gives {' or '.join(known)}"
