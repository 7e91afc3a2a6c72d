"""How a secret may stand in bytes that were written or sent: raw, in hex, in base64 wherever it begins."""

import base64


def spellings(secret: bytes) -> list[bytes]:
    """Bytes as they are, in hex, and in base64 (both alphabets) at each of the three places where it may begin."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + secret)
        # What the bytes before and after would change is left out.
        inner = whole[-(-shift * 4 // 3) : len(whole) - 4]
        found += [inner, inner.translate(bytes.maketrans(b"+/", b"-_"))]
    return found
