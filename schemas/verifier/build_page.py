"""Puts verify.html together: `python -m schemas.verifier.build_page` writes it, a test fails when it has drifted.

Invariant: one file that loads nothing; its policy admits exactly its own script and style, by their SHA-256.
"""

import base64
import hashlib
import re
from typing import Final

from schemas.verifier import DIRECTORY

SOURCES: Final = DIRECTORY / "page"
# Each after those that it uses while it loads.
SCRIPTS: Final = (
    "bytes.js",
    "json.js",
    "zip.js",
    "note.js",
    "proof.js",
    "keys.js",
    "der.js",
    "timestamp.js",
    "receipt.js",
    "bundle.js",
    "logs.js",
    "records.js",
    "verify.js",
    "content.js",
    "page.js",
)
_STRICT: Final = '"use strict";\n'


def build() -> str:
    """The text of verify.html. Raises ValueError when a source would end its own element."""
    # 1. All files share one scope, so one directive in front is enough.
    files = [f"// --- {name}\n{_read(name).replace(_STRICT, '')}" for name in SCRIPTS]
    script = "\n" + _STRICT + "\n".join(files)
    style = "\n" + _read("style.css")
    # 2. Nothing in them may look like markup to the browser.
    if re.search(r"<(?:/?script|/style|!--)", script + style, re.IGNORECASE):
        raise ValueError("a source of verify.html holds the end of its own element: write it otherwise")
    # 3. Into their places, each once; the hashes are over exactly what stands between the tags.
    values = {"script": script, "style": style, "script_sha256": _hash(script), "style_sha256": _hash(style)}
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], _read("template.html"))


def _read(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def main() -> None:
    """Write verify.html beside this module."""
    (DIRECTORY / "verify.html").write_text(build(), encoding="utf-8")


if __name__ == "__main__":
    main()
