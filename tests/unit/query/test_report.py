"""report.pdf: the same facts give the same bytes, in any script, and nothing of them reaches a log."""

import logging
import warnings
from io import BytesIO
from typing import Any

import pypdf
import pytest

from schemas.archive import read_archive
from schemas.strict_json import read_json
from services.query.bundles.report.pdf import report_pdf
from tests.support.bundles import golden

pytestmark = pytest.mark.unit


def facts(**changes: Any) -> dict[str, Any]:
    report: dict[str, Any] = read_json(read_archive(golden()[0])["report.json"], levels=32)[0]
    report["records"][0] |= changes
    return report


def text_of(report: dict[str, Any], **notices: str) -> str:
    reader = pypdf.PdfReader(BytesIO(report_pdf(report, notices)))
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def test_the_same_facts_give_the_same_bytes() -> None:
    assert report_pdf(facts(), {}) == report_pdf(facts(), {})


@pytest.mark.parametrize("name", ["Ève Łukasz Ñandú", "Εύα Παπαδοπούλου", "Ева Иванова", "Ève ‖ “x” €"])
def test_names_stand_as_they_are_written(name: str) -> None:
    assert name in text_of(facts(who={"identifiers": [{"type": "account", "value": name}]}))


def test_what_the_font_lacks_is_shown_as_lacking_and_logged_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """fpdf2 writes the characters that it cannot draw into a warning: they must not get that far."""
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = text_of(facts(who={"identifiers": [{"type": "account", "value": "秘密 x\u0007y 🔒"}]}))
    assert "\ufffd\ufffd x\ufffdy \ufffd" in text
    assert "Characters that this document's font lacks" in text
    assert "秘" not in caplog.text
    assert "missing" not in caplog.text
    assert "Characters that" not in text_of(facts())


def test_what_is_kept_back_is_said() -> None:
    text = text_of(facts(who=None, what=None, context=None, notice=None))
    assert "Who kept back in this copy" in text
    assert "What kept back in this copy" in text


def test_what_a_person_was_told_and_how_is_said_in_full() -> None:
    what = facts()["records"][0]["what"]
    more = {
        "marks": ["late", "clock-ahead"],
        "double_opt_in": {"sent_at": "2026-11-01T08:00:00Z", "confirmed_at": "2026-11-01T08:30:00Z"},
        "valid_until": "2027-01-01T00:00:00Z",
    }
    notice = facts()["records"][0]["notice"]
    text = text_of(
        facts(what=what | more, context={"country": "FR", "signals": {"gpc": True}}), **{notice: "Gardons ?"}
    )
    for said in (
        "Marked late, clock-ahead",
        "confirmed_at 2026-11-01T08:30:00Z",
        "Ends 2027",
        "country: FR",
        "gpc yes",
    ):
        assert said in text
    assert "Gardons ?" in text
    assert "The words are not at hand." in text_of(facts())


def test_an_erasure_and_a_cut_report_say_so() -> None:
    report = facts() | {"about": {"kind": "erasure", "subject": None}, "state": None, "next": "abc", "left_out": 2}
    report |= {"erasure": {"ground": "17(1)(b)", "only_copy": None, "logs": [{"log": "shop", "who": 1}]}}
    text = text_of(report)
    for said in (
        "Certificate of erasure",
        "Ground 17(1)(b)",
        "Only copy nothing",
        "2 records are not shown",
        "next bundle",
    ):
        assert said in text
