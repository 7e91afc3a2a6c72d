"""The two verifiers side by side: the page must end every step as Python does, by number, name and outcome."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Page

from schemas.archive import is_archive
from schemas.bundle_check import Pins
from schemas.steps import Step
from schemas.verify import verify_file, verify_whole
from tests.browser.chromium import Given, Judged, judge

Outcomes = list[tuple[int, str, str]]


def python_says(content: bytes, given: Given) -> Outcomes | None:
    """The steps of the Python verifier; None where it says that what was given cannot be used."""
    pins = Pins(
        tuple(given.vkeys.split()), *(text.encode() or None for text in (given.policy, given.roots, given.jwks))
    )
    try:
        return [(step.number, step.name, step.outcome) for step in _steps(content, given, pins)]
    except ValueError:
        return None


def _steps(content: bytes, given: Given, pins: Pins) -> list[Step]:
    if is_archive(content):
        return verify_whole(content, pins)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        vkey = pins.vkeys[0] if pins.vkeys else None
        others = Pins(pins.vkeys[1:], pins.policy, pins.roots, pins.jwks)
        return verify_file(Path(file.name), vkey, origin=given.origin or None, pins=others)


def compare(page: Page, cases: Mapping[str, tuple[bytes, Given]]) -> dict[str, Judged]:
    """Have both judge every case, and insist that they agree; what the page said, by the case's name."""
    said = dict(zip(cases, judge(page, list(cases.values())), strict=True))
    differ = {}
    for name, judged in said.items():
        expected = python_says(*cases[name])
        if expected != (None if judged.unusable is not None else judged.outcomes()):
            differ[name] = (expected and expected[-1], judged.unusable or judged.steps[-1:])
        # A fault of the page's own would fail every step it should, and prove nothing.
        assert not any("itself stopped" in text for *_, text in judged.steps), (name, judged)
    assert not differ, "\n".join(f"{name}: python {one}, page {other}" for name, (one, other) in differ.items())
    return said
