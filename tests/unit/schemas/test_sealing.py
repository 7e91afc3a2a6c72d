"""Sealing: what opens, what must not, and that one key never seals two messages under one nonce."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import SealError
from schemas.record import Parts
from schemas.sealing import Epoch, EpochHeader, SealedBody, key_id, open_message
from schemas.topics import DeadLetterReason

pytestmark = pytest.mark.unit

PUBLISHER, OTHER_PUBLISHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
LEDGER, OTHER_LEDGER = X25519PrivateKey.generate(), X25519PrivateKey.generate()
BODY = SealedBody(1_795_341_600_000_001, bytes(range(32)), Parts(b'{"who":1}', b"{}", b'{"c":"\xc3\xa9"}'))
ADDRESS = ("shop", "shop.example", "01930f5e-7c1e-7b1a-9c55-000000000001")


@pytest.fixture
def epoch() -> Epoch:
    return Epoch(PUBLISHER, LEDGER.public_key(), 1_795_341_600_000_000)


def cipher_of(epoch: Epoch) -> AESGCM:
    return AESGCM(EpochHeader.decode(epoch.header).open(PUBLISHER.public_key(), LEDGER))


def test_what_was_sealed_opens(epoch: Epoch) -> None:
    header = EpochHeader.decode(epoch.header)
    assert (header.epoch, header.created_at_us) == (epoch.id, epoch.created_at_us)
    assert (header.publisher, header.sealing_key) == (key_id(PUBLISHER.public_key()), key_id(LEDGER.public_key()))
    assert open_message(cipher_of(epoch), epoch.id, *ADDRESS, epoch.seal(*ADDRESS, BODY)) == BODY


def test_counters_never_repeat(epoch: Epoch) -> None:
    values = [epoch.seal(*ADDRESS, BODY) for _ in range(3)]
    assert [int.from_bytes(value[1:9]) for value in values] == [1, 2, 3]
    assert epoch.sealed == 3
    assert len({value[9:] for value in values}) == 3


def test_the_publisher_cannot_open_what_it_sealed(epoch: Epoch) -> None:
    """The header holds the epoch key for the ledger alone."""
    with pytest.raises(SealError) as refused:
        EpochHeader.decode(epoch.header).open(PUBLISHER.public_key(), OTHER_LEDGER)
    assert refused.value.reason == DeadLetterReason.EPOCH_INVALID


def test_another_signer_is_refused(epoch: Epoch) -> None:
    with pytest.raises(SealError) as refused:
        EpochHeader.decode(epoch.header).open(OTHER_PUBLISHER.public_key(), LEDGER)
    assert refused.value.reason == DeadLetterReason.EPOCH_INVALID


@pytest.mark.parametrize("spoil", ["log", "site", "event", "epoch", "another epoch's key"])
def test_a_message_does_not_move(epoch: Epoch, spoil: str) -> None:
    value = epoch.seal(*ADDRESS, BODY)
    log, site, event = ADDRESS
    cipher, named = cipher_of(epoch), epoch.id
    match spoil:
        case "log":
            log = "shop2"
        case "site":
            site = "other.example"
        case "event":
            event = event[:-1] + "2"
        case "epoch":
            named = os.urandom(16)
        case _:
            cipher = cipher_of(Epoch(PUBLISHER, LEDGER.public_key(), 0))
    with pytest.raises(SealError) as refused:
        open_message(cipher, named, log, site, event, value)
    assert refused.value.reason == DeadLetterReason.SEAL_BROKEN


def test_no_bit_of_a_message_may_change(epoch: Epoch) -> None:
    value, cipher = epoch.seal(*ADDRESS, BODY), cipher_of(epoch)
    for at in range(len(value)):
        changed = value[:at] + bytes([value[at] ^ 0x80]) + value[at + 1 :]
        with pytest.raises(SealError):
            open_message(cipher, epoch.id, *ADDRESS, changed)


@pytest.mark.parametrize("length", [0, 1, 8, 9, 24])
def test_a_cut_message_is_refused(epoch: Epoch, length: int) -> None:
    value = epoch.seal(*ADDRESS, BODY)[:length]
    with pytest.raises(SealError) as refused:
        open_message(cipher_of(epoch), epoch.id, *ADDRESS, value)
    assert refused.value.reason == DeadLetterReason.SEAL_BROKEN


@pytest.mark.parametrize("header", [b"", b"\x01", b"\x02" + bytes(184), bytes(185), b"\x01" + bytes(185)])
def test_a_header_that_is_none_is_refused(header: bytes) -> None:
    with pytest.raises(SealError) as refused:
        EpochHeader.decode(header).open(PUBLISHER.public_key(), LEDGER)
    assert refused.value.reason == DeadLetterReason.EPOCH_INVALID


@pytest.mark.parametrize("spoil", [b"", b"\x01", b"\x02" + BODY.encode()[1:], BODY.encode() + b"x", BODY.encode()[:-1]])
def test_a_body_that_is_none_is_refused(spoil: bytes) -> None:
    with pytest.raises(SealError) as refused:
        SealedBody.decode(spoil)
    assert refused.value.reason == DeadLetterReason.PARTS_INVALID
    assert SealedBody.decode(BODY.encode()) == BODY
