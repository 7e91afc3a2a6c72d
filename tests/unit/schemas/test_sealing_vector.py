"""The golden sealed message opens, and it lies byte for byte as docs/proof-format.md section 12 says.

It is not generated anew: HPKE draws a fresh key each time, so what must hold is that these very bytes go on opening.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas import sealing
from schemas.errors import SealError
from schemas.sealing import EpochHeader, open_message

pytestmark = pytest.mark.unit

GOLDEN: dict[str, Any] = json.loads((Path(sealing.__file__).parent / "vectors/sealing/golden.json").read_bytes())
PUBLISHER = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(GOLDEN["publisher_seed"])).public_key()
SEALING = X25519PrivateKey.from_private_bytes(bytes.fromhex(GOLDEN["sealing_private_key"]))
HEADER = bytes.fromhex(GOLDEN["header"])
EPOCH = bytes.fromhex(GOLDEN["epoch"])
KEY = bytes.fromhex(GOLDEN["epoch_key"])
MESSAGES = [bytes.fromhex(message) for message in GOLDEN["messages"]]
ADDRESS: tuple[str, str, str] = (GOLDEN["log"], GOLDEN["site"], GOLDEN["event"])


def test_it_opens() -> None:
    header = EpochHeader.decode(HEADER)
    assert (header.epoch, header.created_at_us) == (EPOCH, GOLDEN["created_at_us"])
    cipher = AESGCM(header.open(PUBLISHER, SEALING))
    for message in MESSAGES:
        body = open_message(cipher, EPOCH, *ADDRESS, message)
        assert (body.received_at_us, body.content.hex()) == (GOLDEN["received_at_us"], GOLDEN["content"])
        assert [part.decode() for part in body.parts] == [GOLDEN["parts"][name] for name in ("who", "what", "context")]


def test_the_header_lies_as_written() -> None:
    head, wrapped, signature = HEADER[:41], HEADER[41:121], HEADER[121:]
    ids = [sha256(key.public_bytes_raw()).digest()[:8] for key in (PUBLISHER, SEALING.public_key())]
    assert head == b"\x01" + b"".join(ids) + EPOCH + GOLDEN["created_at_us"].to_bytes(8, "big")
    assert (len(wrapped), len(signature)) == (80, 64)
    PUBLISHER.verify(signature, b"sayso/epoch/v1\n" + head + wrapped)


def test_the_message_lies_as_written() -> None:
    log, site, event = (word.encode() for word in ADDRESS)
    parts = [GOLDEN["parts"][name].encode() for name in ("who", "what", "context")]
    body = b"".join(
        [
            b"\x01",
            GOLDEN["received_at_us"].to_bytes(8, "big"),
            bytes.fromhex(GOLDEN["content"]),
            *(len(part).to_bytes(4, "big") for part in parts),
            *parts,
        ]
    )
    assert body.hex() == GOLDEN["body"]
    for counter, message in enumerate(MESSAGES, start=1):
        head = b"\x01" + counter.to_bytes(8, "big")
        associated = b"sayso/message/v1\n" + log + b"\n" + site + b"\n" + event + b"\n" + EPOCH
        assert message == head + AESGCM(KEY).encrypt(bytes(4) + head[1:], body, associated)


@pytest.mark.parametrize("at", range(0, 185, 8))
def test_no_bit_of_the_header_may_change(at: int) -> None:
    changed = HEADER[:at] + bytes([HEADER[at] ^ 1]) + HEADER[at + 1 :]
    with pytest.raises(SealError):
        EpochHeader.decode(changed).open(PUBLISHER, SEALING)


@pytest.mark.parametrize("which", range(3))
def test_a_message_does_not_move(which: int) -> None:
    log, site, event = (word + "x" if n == which else word for n, word in enumerate(ADDRESS))
    with pytest.raises(SealError):
        open_message(AESGCM(KEY), EPOCH, log, site, event, MESSAGES[0])
