"""report.pdf: who, when, what they were told, how, still valid, and how to check it. Drawn from report.json alone.

Invariant: nothing reaches the drawing library that its font cannot draw: it would write the characters to the log.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from fontTools.ttLib import TTFont
from fpdf import FPDF, XPos, YPos

FONT_FILE: Final = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
_FONT: Final = "DejaVu"
_LINE_MM: Final = 5.2
_LABEL_MM: Final = 38
_REPLACEMENT: Final = "\ufffd"

_TITLES: Final = {
    "event": "Proof of one recorded event",
    "subject": "Proof of one person's records",
    "erasure": "Certificate of erasure",
}
_VERIFY: Final = (
    "1. Open verify.html of this bundle in a browser and drop the zip on it, or run: python verify.py.",
    "2. Compare the keys it names with those that the service publishes at /keys?log=NAME, or pin your own.",
    "3. It works offline and says of every step whether it holds. Take the verifier from a source that you trust.",
)


@cache
def _drawable() -> frozenset[int]:
    return frozenset(TTFont(FONT_FILE).getBestCmap())


class Page(FPDF):
    """A4 with one font; every text passes `_clean`."""

    def __init__(self, made_at: datetime) -> None:
        super().__init__()
        self.replaced = False
        self.set_creation_date(made_at)
        self.set_producer("Sayso")
        self.set_auto_page_break(auto=True, margin=18)
        self.add_font(_FONT, fname=FONT_FILE)
        self.set_font(_FONT, size=9)
        self.add_page()

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font(_FONT, size=7)
        self.cell(0, 5, f"{self.page_no()}", align="C")

    def clean(self, text: str) -> str:
        """The text with every character replaced that the font lacks."""
        drawable = _drawable()
        kept = "".join(c if ord(c) in drawable or c == "\n" else _REPLACEMENT for c in text)
        self.replaced = self.replaced or kept != text
        return kept

    def heading(self, text: str, size: int = 12) -> None:
        self.ln(2)
        self.set_font(_FONT, size=size)
        self.multi_cell(0, size * 0.6, self.clean(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(_FONT, size=9)
        self.ln(1)

    def paragraph(self, text: str) -> None:
        self.multi_cell(0, _LINE_MM, self.clean(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def row(self, label: str, value: str) -> None:
        """A label and what it says, which may wrap."""
        self.set_text_color(90)
        self.cell(_LABEL_MM, _LINE_MM, self.clean(label))
        self.set_text_color(0)
        self.multi_cell(0, _LINE_MM, self.clean(value), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def report_pdf(facts: Mapping[str, Any], notices: Mapping[str, str]) -> bytes:
    """The report of these facts (report.json); `notices` holds the text of each notice by its hash.

    The same facts give the same bytes.
    """
    page = Page(datetime.fromisoformat(facts["made_at"]))
    controller = facts["controller"]
    page.set_title(_TITLES[facts["about"]["kind"]])
    page.heading(_TITLES[facts["about"]["kind"]], 16)
    page.row("Controller", f"{controller['legal_name']} ({controller['contact']})")
    page.row("Made at", facts["made_at"])
    for name in ("event", "subject"):
        if facts["about"].get(name) is not None:
            page.row(name.capitalize(), facts["about"][name])
    if facts["next"] is not None:
        page.paragraph("This person has more records than this report shows; ask for the next bundle.")
    if facts["left_out"]:
        page.paragraph(f"{facts['left_out']} records are not shown: what they decided was deleted.")
    if "erasure" in facts:
        _erasure(page, facts["erasure"])
    if facts["state"] is not None:
        _state(page, facts["state"])
    for record in facts["records"]:
        _record(page, record)
    _told(page, facts["records"], notices)
    for log in facts["logs"]:
        _log(page, log)
    page.heading("How to check this")
    for line in _VERIFY:
        page.paragraph(line)
    if page.replaced:
        page.ln(2)
        page.paragraph(
            f"Characters that this document's font lacks are shown as {_REPLACEMENT}. "
            "report.json and the files in notices/ hold them as they are."
        )
    return bytes(page.output())


def _state(page: Page, state: Mapping[str, Any]) -> None:
    page.heading("Still valid?")
    page.paragraph(f"As of {state['at']}, from everything recorded until then:")
    for decided in state["decisions"]:
        reasons = ", ".join(reason.replace("_", " ") for reason in decided["reasons"])
        answer = "consent is valid" if decided["valid"] else f"no valid consent ({reasons})"
        ends = f"; ends {decided['expires_at']}" if "expires_at" in decided else ""
        page.row(decided["purpose"], f"{answer}; {decided['decision']}, basis {decided['legal_basis']}{ends}")
    if not state["decisions"]:
        page.paragraph("Nothing was decided.")


def _record(page: Page, record: Mapping[str, Any]) -> None:
    what, who, context = record["what"], record["who"], record["context"]
    page.heading("Record" if what is None else f"{what['type']} on {what['site']}")
    page.row("Event", record["event"])
    page.row("Who", _who(who))
    if what is None:
        page.row("What", "kept back in this copy")
    else:
        page.row("When", f"{what['time']} by the clock of the site; received {what['received_at']}")
        for decision in what.get("decisions", []):
            services = f" for {', '.join(decision['services'])}" if decision.get("services") else ""
            page.row(
                "Decided", f"{decision['purpose']}: {decision['decision']}, basis {decision['legal_basis']}{services}"
            )
        for label, value in _how(what):
            page.row(label, value)
        page.row("Words", _words(what, record["notice"]))
    if context:
        page.row("Circumstances", "; ".join(f"{name}: {short(value)}" for name, value in sorted(context.items())))
    page.row("Recorded", f"{record['recorded_at']} in the log {record['origin']} at place {record['index']}")
    page.row("Under", f"the log's tree of {record['size']} records, root {record['root']}")


def _who(who: Mapping[str, Any] | None) -> str:
    if who is None:
        return "kept back in this copy"
    named = [f"{one['type']} {one['value']}" for one in who.get("identifiers", [])]
    if "guardian" in who:
        named.append("with a guardian")
    return ", ".join(named) or "nobody named"


def _how(what: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    capture = what.get("capture", {})
    shown = ", ".join(
        f"{name} {short(capture[name])}" for name in ("mechanism", "element", "action") if name in capture
    )
    yield "How", f"{shown or 'not stated'}; posted by a {what['posted_by']}"
    if "double_opt_in" in what:
        yield "Confirmed", ", ".join(f"{name} {short(value)}" for name, value in what["double_opt_in"].items())
    if "marks" in what:
        yield "Marked", ", ".join(what["marks"])
    if "valid_until" in what:
        yield "Ends", what["valid_until"]


def _words(what: Mapping[str, Any], named: str | None) -> str:
    shown = what.get("notice", {}).get("sha256")
    if shown is None:
        return "no notice is named"
    known = "set out below" if named is not None else "not known to the controller when this was recorded"
    return f"notice {shown}; {known} ({what['words']})"


def _told(page: Page, records: Sequence[Mapping[str, Any]], notices: Mapping[str, str]) -> None:
    for sha256 in dict.fromkeys(record["notice"] for record in records if record["notice"] is not None):
        page.heading("What they were told, word for word")
        page.row("Notice", f"SHA-256 {sha256}")
        page.paragraph(notices.get(sha256, "The words are not at hand."))


def _erasure(page: Page, erasure: Mapping[str, Any]) -> None:
    page.heading("What was erased")
    for name, value in erasure.items():
        page.row(name.replace("_", " ").capitalize(), short(value))


def _log(page: Page, log: Mapping[str, Any]) -> None:
    page.heading("Evidence from outside")
    page.row("Log", f"{log['origin']}, {log['size']} records, root {log['root']}")
    for stamp in log["timestamps"]:
        page.row("Timestamp", f"{stamp['time']}, by {stamp['authority']} (RFC 3161)")
    for witness in log["witnesses"]:
        page.row("Witness", f"{witness['name']}, {witness['time']}")
    for lack in log["lacks"]:
        page.row("Not there", lack)


def short(value: Any) -> str:
    """A value of a part in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {short(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(short(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else str(value)
