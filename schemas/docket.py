"""A docket at rest, as the ledger seals it and query opens it: AES-256-GCM under a key of its own, bound to its number.

Content: {"identifiers": [{type, value}], "history": [{step, at}, ...], "reply_to"?}, canonical JSON.
"""

from typing import Final

NONCE_BYTES: Final = 12
_DOMAIN: Final = b"sayso/docket/v1\n"


def place_of_docket(controller: int, docket: int) -> bytes:
    """The associated data of a sealed docket; `docket` is the number of the erasure."""
    return b"%b%d\n%d" % (_DOMAIN, controller, docket)
