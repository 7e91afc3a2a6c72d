"""The verifiers that travel in every proof bundle: one file each, made to be read and to work without us.

verify.py is cut from schemas by `python -m schemas.verifier.build`; verify.html is written by hand from the documents
(page/), and put together by `python -m schemas.verifier.build_page`.
"""

from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).parent


def verifiers() -> dict[str, bytes]:
    """File name -> content, as they lie in a bundle."""
    return {
        name: (DIRECTORY / name).read_bytes() for name in ("verify.html", "verify.py") if (DIRECTORY / name).exists()
    }
