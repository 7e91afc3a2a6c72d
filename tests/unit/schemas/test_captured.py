"""The name of words read off a screen; tests/browser holds the page's own arithmetic to it."""

import hashlib

import pytest

from schemas.captured import captured_hash, captured_text

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("", ""),
        (" \n\t\n", ""),
        ("  May   we?  \r\n\r\n Yes\u00a0\u2009please ", "May we?\nYes please"),
        ("cafe\u0301", "café"),
        # Not white space in ECMAScript, though Python takes it for some.
        ("a\x1cb\x85c", "a\x1cb\x85c"),
        ("\ufeffMay we?", "May we?"),
    ],
)
def test_lines_as_a_page_joins_them(text: str, normal: str) -> None:
    assert captured_text(text) == normal


def test_the_name_depends_on_the_language() -> None:
    expected = hashlib.sha256(b"sayso/captured/v1\nfr\nMay we?").hexdigest()
    assert captured_hash(" May  we? ", "fr") == expected
    assert captured_hash("May we?", "en") != expected
