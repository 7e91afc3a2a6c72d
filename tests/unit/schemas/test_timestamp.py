"""schemas.timestamp: what a token states, what is complained of, and that no damaged token ever states anything else.

Which tokens verify at all is the table of tests/contract/test_timestamp_verifiers.py, beside two other verifiers.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from schemas.der import DerReader
from schemas.errors import ProofError
from schemas.timestamp import Timestamp, is_root, read_roots, verify_timestamp
from schemas.timestamp_token import RESPONSE_BYTES_MAX, parse_timestamp
from tests.support.tsa_tokens import Identity, Recipe, der, integer, issue, oid, sequence, write_token

pytestmark = pytest.mark.unit

NOTE = b"log.example/logs/shop\n7\nqqq=\n\n-- signatures --\n"
NONCE = bytes(range(1, 9))
AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
ROOT = issue("root", ca=True)
LEAF = issue("signer", issue("issuer", ROOT, ca=True))
ROOTS = read_roots(ROOT.root_pem)
GOOD = Recipe(NOTE, LEAF, AT, nonce=int.from_bytes(NONCE, "big"))
TOKEN = write_token(GOOD)
STATED = Timestamp(AT, "CN=signer", 4711, "1.2.3.4.1", timedelta(seconds=1.5))


def verify(response: bytes) -> Timestamp:
    return verify_timestamp(response, NOTE, ROOTS, nonce=NONCE)


def test_what_a_token_states() -> None:
    assert verify(TOKEN) == STATED
    assert verify_timestamp(TOKEN, NOTE, ROOTS) == STATED
    fine = verify(write_token(GOOD.but(gen_time="20240506070809.123456789Z", accuracy=b"")))
    assert (fine.gen_time, fine.accuracy) == (AT + timedelta(microseconds=123456), None)
    micros = verify(write_token(GOOD.but(accuracy=sequence(integer(7, 0x81)))))
    assert micros.accuracy == timedelta(microseconds=7)


def test_certificates_come_in_any_order_and_more_than_once() -> None:
    listed = [LEAF.certificate, *LEAF.above]
    good = parse_timestamp(TOKEN).certificates
    for chosen in (listed, listed[::-1], listed * 2):
        encoded = [certificate.public_bytes(Encoding.DER) for certificate in chosen]
        sorted_set, unsorted = der(0xA0, *sorted(good)), der(0xA0, *encoded)
        # The lengths around the SET change with it: written again from the inside out.
        assert verify(_replaced(TOKEN, sorted_set, unsorted)) == STATED


def _replaced(token: bytes, old: bytes, new: bytes) -> bytes:
    """The response with one value inside the SignedData written otherwise."""
    body = DerReader(token, "test").inside(0x30)
    status, content = body.any(), DerReader(body.any().content, "test")
    kind, signed = content.any(), DerReader(content.any().content, "test").any()
    assert signed.content.count(old) == 1
    again = sequence(signed.content.replace(old, new))
    return sequence(status.encoded, sequence(kind.encoded, der(0xA0, again)))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "other bytes": (lambda: write_token(GOOD.but(message=b"x")), "is over other bytes"),
    "replayed": (lambda: write_token(GOOD.but(nonce=1)), "answers another request"),
    "refused": (lambda: write_token(GOOD.but(status=2)), "status is not granted"),
    "refused, without a token": (lambda: bytes.fromhex("30053003020102"), "status is not granted"),
    "expired": (lambda: write_token(GOOD.but(signer=issue("s", ROOT, end=AT))), "was not valid at the time"),
    "stranger": (lambda: write_token(GOOD.but(signer=issue("s", issue("root", ca=True)))), "leads to no pinned root"),
    "purpose": (
        lambda: write_token(GOOD.but(signer=issue("s", ROOT, critical_purposes=False))),
        "is not one for timestamps alone",
    ),
    "authority": (
        lambda: write_token(GOOD.but(tsa=ROOT.certificate.subject)),
        "names another authority",
    ),
    "key": (lambda: write_token(GOOD.but(key=ROOT.key)), "signature does not verify"),
    "named": (lambda: write_token(GOOD.but(ess_certificate=ROOT.certificate)), "signed for another certificate"),
    "unnamed": (lambda: write_token(GOOD.but(ess=None)), "does not name the signer's certificate"),
    "kind": (lambda: write_token(GOOD.but(content_type=None)), "does not say that it is over a timestamp"),
    "digest": (lambda: write_token(GOOD.but(digest_of=b"x")), "is over another content"),
    "accuracy": (lambda: write_token(GOOD.but(accuracy=sequence(integer(1000, 0x80)))), "accuracy is out of range"),
    "serial": (lambda: write_token(GOOD.but(serial=1 << 160)), "longer than 160 bits"),
    "day": (lambda: write_token(GOOD.but(gen_time="20240230070809Z")), "no time of any day"),
    "leap second": (lambda: write_token(GOOD.but(gen_time="20161231235960Z")), "no time of any day"),
    "policy": (lambda: write_token(GOOD.but(policy="1.2." + ".".join(["4294967295"] * 13))), "longer than any"),
    "long": (lambda: TOKEN + bytes(RESPONSE_BYTES_MAX), "longer than 65536 bytes"),
    "empty": (lambda: b"", "is malformed"),
    "text": (lambda: b"<html>", "is malformed"),
}


@pytest.mark.parametrize(("response", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_complained_of(response: Callable[[], bytes], said: str) -> None:
    with pytest.raises(ProofError) as refused:
        verify(response())
    assert said in str(refused.value)


def test_the_policy_is_insisted_on_only_if_there_is_one() -> None:
    assert verify_timestamp(TOKEN, NOTE, ROOTS, policy="1.2.3.4.1") == STATED
    with pytest.raises(ProofError, match="another policy"):
        verify_timestamp(TOKEN, NOTE, ROOTS, policy="1.2.3.4.2")


def test_every_bit_flip_is_refused() -> None:
    for at in range(len(TOKEN) * 8):
        damaged = bytearray(TOKEN)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(ProofError):
            verify(bytes(damaged))


def test_random_damage_never_states_another_claim() -> None:
    chance = random.Random(3161)
    for _ in range(1500):
        damaged = bytearray(TOKEN)
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(damaged))
            end = min(len(damaged), start + chance.choice((0, 1, 2, 20)))
            damaged[start:end] = chance.randbytes(chance.choice((0, 1, 2, 20)))
        try:
            stated = verify(bytes(damaged))
        except ProofError:
            continue
        assert stated == STATED


def test_a_crowd_of_issuers_is_searched_quickly() -> None:
    # All carry one name and one key, so that each seems to have issued every other one.
    crowd = [issue("issuer", ca=True)]
    crowd += [issue("issuer", crowd[0], key=crowd[0].key, ca=True) for _ in range(30)]
    signer = issue("signer", crowd[0])
    token = write_token(GOOD.but(signer=signer, certificates=[one.certificate for one in (signer, *crowd)]))
    began = datetime.now(UTC)
    with pytest.raises(ProofError, match="leads to no pinned root"):
        verify(token)
    assert datetime.now(UTC) - began < timedelta(seconds=5)


def test_the_signature_of_an_issuer_has_one_encoding() -> None:
    # Bits that a BIT STRING declares unused must be 0: with a last byte that is even, one could be declared.
    middle = issue("issuer", ROOT, ca=True)
    while middle.certificate.signature[-1] & 1:
        middle = issue("issuer", ROOT, ca=True)
    token = write_token(GOOD.but(signer=issue("signer", middle)))
    signature = middle.certificate.signature
    assert verify(token) == STATED
    with pytest.raises(ProofError, match="not whole bytes"):
        verify(token.replace(b"\0" + signature, b"\1" + signature))


class TestRoots:
    def test_several_in_one_file(self) -> None:
        other = issue("another root", ca=True)
        assert verify_timestamp(TOKEN, NOTE, read_roots(other.root_pem + ROOT.root_pem)) == STATED

    @pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    def test_what_is_no_certificate(self, pem: bytes) -> None:
        with pytest.raises(ProofError, match="not certificates in PEM"):
            read_roots(pem)

    def test_only_authorities_that_signed_themselves_may_be_pinned(self) -> None:
        def pinned(identity: Identity) -> bool:
            return is_root(read_roots(identity.certificate.public_bytes(Encoding.PEM))[0])

        assert pinned(ROOT)
        assert not pinned(issue("issuer", ROOT, ca=True))
        assert not pinned(issue("signer"))
        assert not pinned(issue("root", ca=True, key_cert_sign=False))

    def test_a_pinned_signer_alone_is_no_path(self) -> None:
        with pytest.raises(ProofError, match="leads to no pinned root"):
            verify_timestamp(TOKEN, NOTE, read_roots(LEAF.certificate.public_bytes(Encoding.PEM)))


class TestDer:
    @pytest.mark.parametrize(
        "encoded",
        [
            "",
            "02",
            "0202 01",  # cut off
            "0280 01 0000",  # indefinite
            "028101 01",  # a long form for a short length
            "02820001 01",
            "0285 0000000001 01",
            "1f01 00",  # a tag of two bytes
            "0200",  # an empty integer
            "0202 0001",  # a leading zero
            "0202 ff80",
        ],
    )
    def test_integers_have_one_encoding(self, encoded: str) -> None:
        with pytest.raises(ProofError, match="number is malformed"):
            DerReader(bytes.fromhex(encoded), "number").integer()

    def test_lengths_have_one_encoding(self) -> None:
        content = bytes(0x80)
        assert DerReader(b"\x04\x81\x80" + content, "bytes").next(0x04).content == content
        with pytest.raises(ProofError, match="not definite and shortest"):
            DerReader(b"\x04\x82\x00\x80" + content, "bytes").any()

    @pytest.mark.parametrize("number", [0, 1, -1, 127, 128, -128, 255, 256, 1 << 63, -(1 << 63)])
    def test_integers(self, number: int) -> None:
        assert DerReader(integer(number), "number").integer() == number

    @pytest.mark.parametrize("dotted", ["0.0", "1.2.840.113549.1.9.16.1.4", "2.16.840.1", "2.999.3", "1.39.4294967295"])
    def test_object_identifiers(self, dotted: str) -> None:
        assert DerReader(oid(dotted), "name").oid() == dotted

    @pytest.mark.parametrize("encoded", ["0600", "060180", "0603 2a8001", "0602 2a86"])
    def test_object_identifiers_have_one_encoding(self, encoded: str) -> None:
        with pytest.raises(ProofError, match="name is malformed"):
            DerReader(bytes.fromhex(encoded), "name").oid()

    def test_booleans(self) -> None:
        assert DerReader(b"\x01\x01\xff", "flag").boolean()
        assert not DerReader(b"\x01\x01\x00", "flag").boolean()
        with pytest.raises(ProofError, match="neither 00 nor ff"):
            DerReader(b"\x01\x01\x01", "flag").boolean()


def test_a_certificate_with_a_serial_number_that_is_not_positive_is_refused() -> None:
    serial = integer(LEAF.above[0].serial_number)
    # Random serial numbers of `cryptography` have 159 bits: 20 bytes, the first of them below 0x80.
    negative = serial[:2] + bytes([serial[2] | 0x80]) + serial[3:]
    with pytest.raises(ProofError, match="not positive"):
        verify(_replaced(TOKEN, serial, negative))
