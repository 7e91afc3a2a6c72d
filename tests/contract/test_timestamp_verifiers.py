"""Three verifiers of RFC 3161 tokens, one table of tokens: ours, rfc3161-client and `openssl ts` give these verdicts.

Ours never verifies what another one refuses, but for two kinds of signature that both others do not know. Where it
alone refuses, the table says so: the others are laxer there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from schemas.errors import ProofError
from schemas.timestamp import read_roots, verify_timestamp
from services.ledger.evidence.authorities import Authority
from services.ledger.evidence.timestamp_check import UnreadableByClient, client_agrees, openssl_agrees
from tests.support.tsa import TimestampAuthority
from tests.support.tsa_tokens import Identity, Recipe, der, issue, oid, sequence, write_token

pytestmark = pytest.mark.contract

NOTE = b"log.example/logs/shop\n7\nqqq=\n\n-- signatures --\n"
NONCE = bytes(range(1, 9))
AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
LATER, EARLIER = AT + timedelta(days=1), AT - timedelta(days=1)

# Key generation is slow, the certificates are the same for every row.
ROOT = issue("root", ca=True)
LEAF = issue("signer", ROOT)
MIDDLE = issue("issuer", ROOT, ca=True)
CHAINED = issue("signer", MIDDLE)
OTHER_ROOT = issue("root of another", ca=True)
OTHER = issue("signer of another", OTHER_ROOT)
RSA_KEY = rsa.generate_private_key(65537, 2048)

GOOD = Recipe(NOTE, LEAF, AT, nonce=int.from_bytes(NONCE, "big"))


def by(signer: Identity, **changes: Any) -> Recipe:
    return GOOD.but(signer=signer, **changes)


def leaf(issuer: Identity = ROOT, **options: Any) -> Identity:
    return issue("signer", issuer, **options)


def below(**options: Any) -> Identity:
    """A signer under an intermediate authority made with these options."""
    return issue("signer", issue("issuer", ROOT, **({"ca": True} | options)))


def extensions(*, critical: bool) -> bytes:
    flag = der(0x01, b"\xff") if critical else b""
    return der(0xA1, sequence(oid("1.2.3.4.5"), flag, der(0x04, b"x")))


def two_below(path_length: int) -> Identity:
    upper = issue("upper issuer", ROOT, ca=True, path_length=path_length)
    return issue("signer", issue("lower issuer", upper, ca=True))


DATA = "1.2.840.113549.1.7.1"
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.9"), b"\x05\x00")
PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
CONSTRAINT = x509.NameConstraints([x509.DNSName("example.com")], None)

# Verdicts of ours, rfc3161-client (None: its parser refuses) and openssl.
YES, NO = (True, True, True), (False, False, False)
# What is laxer than ours, row by row: the column says who.
CLIENT_LAX, OPENSSL_LAX, BOTH_LAX = (False, True, False), (False, False, True), (False, True, True)
# Neither library knows these kinds of signature in a token.
OURS_ALONE_KNOWS = (True, False, False)

Row = tuple[Callable[[], Recipe], tuple[bool, bool | None, bool]]
TABLE: dict[str, Row] = {
    "good": (lambda: GOOD, YES),
    "signed with RSA": (lambda: by(leaf(key=RSA_KEY)), YES),
    "signed on P-384 over SHA-384": (
        lambda: by(leaf(key=ec.generate_private_key(ec.SECP384R1())), hash_name="sha384"),
        YES,
    ),
    "digests are SHA-512": (lambda: GOOD.but(hash_name="sha512"), YES),
    "signed with RSA-PSS": (lambda: by(leaf(key=RSA_KEY), pss_salt=32), OURS_ALONE_KNOWS),
    "signed with Ed25519": (lambda: by(leaf(key=ed25519.Ed25519PrivateKey.generate())), OURS_ALONE_KNOWS),
    "expired since": (lambda: by(leaf(end=LATER)), YES),
    "expired at genTime": (lambda: by(leaf(end=EARLIER)), NO),
    "expired in that second": (lambda: by(leaf(end=AT)), NO),
    "valid from that second": (lambda: by(leaf(start=AT)), YES),
    "not yet valid at genTime": (lambda: by(leaf(start=LATER)), NO),
    "a fraction of a second": (lambda: GOOD.but(gen_time="20240506070809.25Z"), YES),
    "a fraction that ends in 0, which DER forbids": (
        lambda: GOOD.but(gen_time="20240506070809.250Z"),
        (True, None, True),
    ),
    "no accuracy": (lambda: GOOD.but(accuracy=b""), YES),
    "time of another zone": (lambda: GOOD.but(gen_time="20240506070809+0200"), (False, None, True)),
    "time of no zone": (lambda: GOOD.but(gen_time="20240506070809"), (False, None, True)),
    # --- what was asked ---
    "another message": (lambda: GOOD.but(message=b"other"), NO),
    "another nonce": (lambda: GOOD.but(nonce=5), NO),
    "no nonce": (lambda: GOOD.but(nonce=None), NO),
    "refused": (lambda: GOOD.but(status=2), NO),
    "granted with changes": (lambda: GOOD.but(status=1), OPENSSL_LAX),
    "imprint is SHA-512": (lambda: GOOD.but(imprint_hash="sha512"), CLIENT_LAX),
    "imprint claims to be SHA-512": (lambda: GOOD.but(imprint_claim="sha512"), NO),
    "imprint is SHA-1": (lambda: GOOD.but(imprint_hash="sha1"), NO),
    "version 2": (lambda: GOOD.but(version=2), CLIENT_LAX),
    "an extension": (lambda: GOOD.but(extensions=extensions(critical=False)), YES),
    "a critical extension": (lambda: GOOD.but(extensions=extensions(critical=True)), BOTH_LAX),
    "names its authority": (lambda: GOOD.but(tsa=LEAF.certificate.subject), YES),
    "names another authority": (lambda: GOOD.but(tsa=OTHER.certificate.subject), CLIENT_LAX),
    # --- another authority's leaf ---
    "another authority's token": (lambda: by(OTHER), NO),
    "another authority's token with our leaf in it": (
        lambda: by(OTHER, certificates=(OTHER.certificate, LEAF.certificate)),
        NO,
    ),
    "our token with another authority's leaf in it": (
        lambda: GOOD.but(certificates=(LEAF.certificate, OTHER.certificate)),
        YES,
    ),
    "another key behind our leaf": (lambda: GOOD.but(key=OTHER.key), NO),
    "another signer who names our leaf": (
        lambda: by(OTHER, ess_certificate=LEAF.certificate, certificates=(OTHER.certificate, LEAF.certificate)),
        NO,
    ),
    "no certificates": (lambda: GOOD.but(certificates=()), NO),
    # --- the signed attributes ---
    "certificate by SHA-1": (lambda: GOOD.but(ess="v1"), YES),
    "certificate by SHA-1, issuer and serial": (lambda: GOOD.but(ess="v1", issuer_serial=True), YES),
    "certificate by SHA-256, issuer and serial": (lambda: GOOD.but(issuer_serial=True), YES),
    "the whole path named": (
        lambda: by(CHAINED, ess_further=(MIDDLE.certificate, ROOT.certificate)),
        YES,
    ),
    "another path named": (lambda: by(CHAINED, ess_further=(OTHER.certificate,)), CLIENT_LAX),
    "no certificate named": (lambda: GOOD.but(ess=None), CLIENT_LAX),
    "another certificate named": (lambda: GOOD.but(ess_certificate=OTHER.certificate), CLIENT_LAX),
    "another certificate named by SHA-1": (lambda: GOOD.but(ess="v1", ess_certificate=OTHER.certificate), CLIENT_LAX),
    "no content type": (lambda: GOOD.but(content_type=None), BOTH_LAX),
    "another content type": (lambda: GOOD.but(content_type=DATA), BOTH_LAX),
    "not a timestamp": (lambda: GOOD.but(encapsulated_type=DATA, content_type=DATA), (False, None, False)),
    "digest of another content": (lambda: GOOD.but(digest_of=b"x"), NO),
    "an attribute twice": (lambda: GOOD.but(doubled_attribute=True), BOTH_LAX),
    "two signers": (lambda: GOOD.but(signers=2), NO),
    "no signer": (lambda: GOOD.but(signers=0), NO),
    "a byte behind it": (lambda: GOOD.but(behind=b"\0"), (False, None, True)),
    # --- the certificates ---
    "purpose not critical": (lambda: by(leaf(critical_purposes=False)), NO),
    "no purpose": (lambda: by(leaf(purposes=None)), NO),
    "another purpose": (lambda: by(leaf(purposes=[ExtendedKeyUsageOID.CODE_SIGNING])), NO),
    "another purpose beside": (
        lambda: by(leaf(purposes=[ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING])),
        NO,
    ),
    "key may encipher": (lambda: by(leaf(encipherment=True)), NO),
    "signed by an issuer": (lambda: by(MIDDLE), NO),
    "signed by an issuer with the purpose": (
        lambda: by(issue("signer", ROOT, ca=True, usage=False, extra=PURPOSE)),
        BOTH_LAX,
    ),
    "unknown critical extension": (lambda: by(leaf(extra=UNKNOWN)), NO),
    "signed over SHA-224": (lambda: by(leaf(hash_name=hashes.SHA224())), BOTH_LAX),
    "under an issuer": (lambda: by(CHAINED), YES),
    "issuer missing": (lambda: by(CHAINED, certificates=(CHAINED.certificate,)), NO),
    "issuer expired at genTime": (lambda: by(below(end=EARLIER)), NO),
    "issuer not yet valid at genTime": (lambda: by(below(start=LATER)), NO),
    "issuer is no authority": (lambda: by(below(ca=False)), NO),
    "issuer may sign certificates and is no authority": (lambda: by(below(ca=False, key_cert_sign=True)), NO),
    "issuer may not sign certificates": (lambda: by(below(key_cert_sign=False)), NO),
    "issuer with an unknown critical extension": (lambda: by(below(extra=UNKNOWN)), NO),
    "issuer with name constraints": (lambda: by(below(extra=CONSTRAINT)), BOTH_LAX),
    "as long a path as allowed": (lambda: by(two_below(1)), YES),
    "a longer path than allowed": (lambda: by(two_below(0)), NO),
}


@dataclass(frozen=True)
class Verdicts:
    """What the three say, and what ours stated or complained of."""

    all: tuple[bool, bool | None, bool]
    said: str


def ask_all(response: bytes, authority: Authority, *, note: bytes = NOTE, at: datetime = AT) -> Verdicts:
    try:
        stamp = verify_timestamp(response, note, authority.roots, nonce=NONCE, policy=authority.policy)
        ours, said = True, stamp.authority
    except ProofError as error:
        ours, said = False, str(error)
    client: bool | None
    try:
        client = client_agrees(response, note, NONCE, authority)
    except UnreadableByClient:
        client = None
    return Verdicts((ours, client, openssl_agrees(response, note, NONCE, authority, at)), said)


def pinned(folder: Path, root: Identity, policy: str | None = None) -> Authority:
    path = folder / "roots.pem"
    path.write_bytes(root.root_pem)
    return Authority("local", "http://localhost/", path, tuple(read_roots(root.root_pem)), policy)


@pytest.mark.parametrize(("recipe", "expected"), TABLE.values(), ids=TABLE.keys())
def test_the_three_verdicts_are_those_of_the_table(
    recipe: Callable[[], Recipe], expected: tuple[bool, bool | None, bool], tmp_path: Path
) -> None:
    assert ask_all(write_token(recipe()), pinned(tmp_path, ROOT)).all == expected


def test_ours_verifies_nothing_that_a_library_refuses() -> None:
    lax = [name for name, (_, (ours, *others)) in TABLE.items() if ours and False in others]
    assert lax == ["signed with RSA-PSS", "signed with Ed25519"]


def test_the_policy_agreed_is_insisted_on(tmp_path: Path) -> None:
    token = write_token(GOOD)
    assert ask_all(token, pinned(tmp_path, ROOT, GOOD.policy)).all == YES
    assert ask_all(token, pinned(tmp_path, ROOT, "1.2.3.4.2")).all == NO


class TestOpenssl:
    """Tokens that `openssl ts -reply` made, as the local authority gives them."""

    @pytest.mark.parametrize(("chain", "expected"), [(False, YES), (True, (True, None, True))], ids=["leaf", "chain"])
    def test_its_tokens_verify(self, chain: bool, expected: tuple[bool, bool | None, bool], tmp_path: Path) -> None:
        authority = TimestampAuthority(tmp_path, chain=chain)
        verdicts = ask_all(authority.stamp(NOTE, NONCE), authority.pinned(), at=datetime.now(UTC))
        assert verdicts.all == expected
        assert verdicts.said == authority.signer.certificate.subject.rfc4514_string()

    def test_a_signer_that_has_expired_stamps_nothing(self, tmp_path: Path) -> None:
        authority = TimestampAuthority(tmp_path, end=LATER)
        assert ask_all(authority.stamp(NOTE, NONCE), authority.pinned(), at=datetime.now(UTC)).all == NO

    def test_replayed_and_foreign_answers(self, tmp_path: Path) -> None:
        one, two = TimestampAuthority(tmp_path / "1", "one"), TimestampAuthority(tmp_path / "2", "two")
        now = datetime.now(UTC)
        assert ask_all(one.stamp(NOTE, bytes(8)), one.pinned(), at=now).all == NO
        assert ask_all(one.stamp(b"other", NONCE), one.pinned(), at=now).all == NO
        assert ask_all(one.stamp(NOTE, NONCE), two.pinned(), at=now).all == NO
        assert ask_all(one.stamp(NOTE, NONCE), one.pinned(), at=now).all == YES
