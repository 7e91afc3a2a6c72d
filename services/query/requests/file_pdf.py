"""The person's file as a document to read. Drawn from the file's JSON alone, every member of it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from services.query.bundles.report.pdf import Page, short

_TITLE: Final = "What is kept about you"
_HEADINGS: Final = {
    "person": "You",
    "identifiers": "How you are known",
    "decisions": "What stands now",
    "links": "Links between your devices and accounts",
    "age": "Your age",
    "restrictions": "Restricted processing",
    "holds": "Kept by law",
    "recipients": "Other systems that get data",
    "told_to": "Other systems that were told",
    "account": "Your account",
    "retention": "How long it is kept",
    "erasures_asked_for": "Erasures asked for",
    "not_recorded": "Messages that could not be recorded",
    "requests": "Your requests",
    "looked_at": "Who looked at your data",
    "records": "Every record",
}


def file_pdf(facts: Mapping[str, Any]) -> bytes:
    """The document. The same facts give the same bytes."""
    page = Page(datetime.fromisoformat(facts["made_at"]))
    page.set_title(_TITLE)
    page.heading(_TITLE, 16)
    owner = facts["controller"]
    page.row("Kept by", f"{owner['legal_name']} ({owner['contact']})")
    page.row("As of", facts["made_at"])
    for name, heading in _HEADINGS.items():
        value = facts[name]
        if not value:
            continue
        page.heading(heading)
        for nth, one in enumerate(value if isinstance(value, list) else [value], 1):
            for label, text in _rows(one):
                page.paragraph(f"{label}: {text}" if label else text)
            if nth < len(value):
                page.ln(2)
    if page.replaced:
        page.paragraph("Characters that this font lacks are replaced; the file as JSON holds them as they are.")
    return bytes(page.output())


def _rows(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """A label and what it says, one row a member; what is nested deeper than a list of plain things gets rows of its
    own.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _rows(inner, f"{path} {name.replace('_', ' ')}".strip())
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for inner in value:
            yield from _rows(inner, path)
    else:
        yield path.capitalize(), short(value)
