"""The name of words that an adapter read off the screen, for somebody who has the same words in a file.

The twin of snippet/src/core/words.js: the text is normalised here as it is there, so that both give one hash.
"""

import hashlib
import re
import unicodedata
from typing import Final

_DOMAIN: Final = "sayso/captured/v1\n"
# What ECMAScript calls white space and line terminators; Python's \s differs from it in a few control characters.
_BLANK: Final = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_BLANKS: Final = re.compile(f"[{_BLANK}]+")


def captured_text(text: str) -> str:
    """The lines of a text as a page's visible text nodes are joined: white space collapsed, no empty lines, NFC."""
    lines = (_BLANKS.sub(" ", line).strip(" ") for line in text.split("\n"))
    return unicodedata.normalize("NFC", "\n".join(line for line in lines if line))


def captured_hash(text: str, language: str) -> str:
    """SHA-256 over a domain, the language and the normalised text, 64 lower-case hex digits."""
    return hashlib.sha256(f"{_DOMAIN}{language}\n{captured_text(text)}".encode()).hexdigest()
