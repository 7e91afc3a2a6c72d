"""RFC 3161 timestamps: did an authority that is pinned really state that it has seen these bytes, and when?

The steps are those of docs/proof-format.md, Timestamps. Standard library and `cryptography` alone: this module is also
cut into the verifier that every bundle carries.
Invariant: a Timestamp is returned only after every step held; certificates are judged at the time the token states.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import new as new_hash
from hashlib import sha256
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from schemas.der import DER_BITS, DER_OCTETS, DER_SEQUENCE, DerReader, DerValue
from schemas.errors import ProofError
from schemas.timestamp_token import (
    SHA256_OID,
    TOKEN_HASHES,
    TST_INFO_OID,
    TimestampToken,
    TokenSigner,
    parse_timestamp,
    read_algorithm,
    read_token_hash,
)

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_PATH_CERTIFICATES_MAX: Final = 8
_CONTENT_TYPE_OID: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST_OID: Final = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE_OID: Final = "1.2.840.113549.1.9.16.2.12"  # RFC 2634, SHA-1
_SIGNING_CERTIFICATE_V2_OID: Final = "1.2.840.113549.1.9.16.2.47"  # RFC 5035
_MGF1_OID: Final = "1.2.840.113549.1.1.8"
_RSA_OID: Final = "1.2.840.113549.1.1.1"
_RSA_PSS_OID: Final = "1.2.840.113549.1.1.10"
_ED25519_OID: Final = "1.3.101.112"
_TOKEN_HASH: Final[Mapping[str, hashes.HashAlgorithm]] = dict(
    zip(TOKEN_HASHES, (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()), strict=True)
)
# Signature algorithms that name their hash.
_RSA_WITH: Final = dict(zip((f"1.2.840.113549.1.1.{n}" for n in (11, 12, 13)), TOKEN_HASHES, strict=True))
_ECDSA_WITH: Final = dict(zip((f"1.2.840.10045.4.3.{n}" for n in (2, 3, 4)), TOKEN_HASHES, strict=True))
# Critical extensions that the steps below look at, or that restrict nothing here; any other is refused.
_CRITICAL_KNOWN: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
# What `cryptography` raises for certificates that it cannot make sense of; it reads names and extensions late.
_CERTIFICATE_ERRORS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What a verified token states.

    gen_time: UTC; the message existed then. authority: subject of the signer's certificate (RFC 4514). serial: the
    token's number at the authority. policy: dotted. accuracy: gen_time is right to within this, None if not stated.
    """

    gen_time: datetime
    authority: str
    serial: int
    policy: str
    accuracy: timedelta | None


@dataclass(frozen=True, slots=True)
class PinnedCertificate:
    """A certificate and the exact bytes of what is compared: itself, its subject, its issuer; serial is positive."""

    x509: x509.Certificate
    encoded: bytes
    subject: bytes
    issuer: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class _CertificateId:
    """ESSCertID or ESSCertIDv2: the hash of a certificate, and perhaps the DER of its issuer's name and its serial."""

    hash_name: str
    digest: bytes
    issuer: bytes | None
    serial: int | None

    def names(self, certificate: PinnedCertificate) -> bool:
        """Whether this is the certificate meant."""
        digest = new_hash(self.hash_name, certificate.encoded, usedforsecurity=False).digest()
        same = self.issuer is None or (self.issuer, self.serial) == (certificate.issuer, certificate.serial)
        return same and digest == self.digest


def verify_timestamp(
    response: bytes,
    message: bytes,
    roots: Sequence[PinnedCertificate],
    *,
    nonce: bytes | None = None,
    policy: str | None = None,
) -> Timestamp:
    """The time at which an authority under one of `roots` has seen SHA-256 of `message`.

    `response` is a whole TimeStampResp, `nonce` that of the request (big-endian), `policy` a dotted one to insist on.
    Raises ProofError with what does not hold.
    """
    # 1-2. A granted response that holds one token with one signer.
    token = parse_timestamp(response)
    info, signer = token.info, token.signer
    # 3. It is over our bytes, answers our request, and is under the policy that was agreed.
    if info.imprint != sha256(message).digest():
        raise ProofError("the timestamp is over other bytes: its imprint is not the SHA-256 of these")
    if nonce is not None and info.nonce != int.from_bytes(nonce, "big"):
        raise ProofError("the timestamp answers another request: its nonce is not the one that was sent")
    if policy is not None and info.policy != policy:
        raise ProofError("the timestamp was issued under another policy than the one agreed with the authority")
    # 4. The token holds the certificate that the signer names; OpenSSL may write the same one twice.
    embedded = [_pinnable(encoded) for encoded in dict.fromkeys(token.certificates)]
    mine = [one for one in embedded if (one.issuer, one.serial) == (signer.issuer, signer.serial)]
    if len(mine) != 1:
        raise ProofError("the timestamp does not hold one certificate of its signer")
    certificate = mine[0]
    # 5. What is signed names the content, its digest and the signer's certificate.
    ids = _check_attributes(token, certificate)
    # 6. The signature.
    _check_signature(signer, certificate)
    with _certificate_problems():
        # 7. The certificate may sign timestamps and nothing else, and the token names no other authority.
        _check_purpose(certificate.x509)
        if info.tsa is not None and info.tsa != certificate.subject:
            raise ProofError("the timestamp names another authority than the one whose certificate signed it")
        # 8. It leads to a pinned root, all of it valid at the stated time, over the certificates that were signed for.
        path = _path_to_root(certificate, embedded, roots, info.gen_time)
        authority = certificate.x509.subject.rfc4514_string()
    if not all(any(one.names(link) for link in path) for one in ids):
        raise ProofError("the timestamp was signed for another path of certificates than the one that it holds")
    return Timestamp(info.gen_time, authority, info.serial, info.policy, info.accuracy)


def read_roots(pem: bytes) -> list[PinnedCertificate]:
    """The certificates of a PEM file to be pinned. Raises ProofError when it holds none, or one that cannot be read."""
    try:
        loaded = x509.load_pem_x509_certificates(pem)
        return [_pinnable(one.public_bytes(Encoding.DER)) for one in loaded]
    except ValueError as error:
        raise ProofError("the pinned roots are not certificates in PEM") from error


def is_root(certificate: PinnedCertificate) -> bool:
    """Whether it may be pinned: a certificate authority's, issued and signed by itself."""
    try:
        certificate.x509.verify_directly_issued_by(certificate.x509)
        return _may_issue(certificate.x509, below=0)
    except (*_CERTIFICATE_ERRORS, InvalidSignature):
        return False


# --- the certificates -----------------------------------------------------------------------------------------


@contextmanager
def _certificate_problems() -> Iterator[None]:
    """Turn what `cryptography` raises late into a ProofError."""
    try:
        yield
    except _CERTIFICATE_ERRORS as error:
        raise ProofError("a certificate of the timestamp cannot be read") from error


def _pinnable(encoded: bytes) -> PinnedCertificate:
    """Read a certificate, and cut the exact bytes of issuer and subject out of it (RFC 5280 section 4.1)."""
    whole = DerReader(encoded, "a certificate of the timestamp").inside(DER_SEQUENCE)
    body = whole.inside(DER_SEQUENCE)
    whole.next(DER_SEQUENCE)
    if not whole.next(DER_BITS).content.startswith(b"\0"):
        raise ProofError("the signature of a certificate of the timestamp is not whole bytes")
    whole.end()
    body.optional(0xA0)
    serial = body.integer()
    body.next(DER_SEQUENCE)
    issuer = body.next(DER_SEQUENCE).encoded
    body.next(DER_SEQUENCE)
    subject = body.next(DER_SEQUENCE).encoded
    if serial <= 0:
        raise ProofError("a certificate of the timestamp has a serial number that is not positive")
    with _certificate_problems():
        return PinnedCertificate(x509.load_der_x509_certificate(encoded), encoded, subject, issuer, serial)


def _path_to_root(
    signer: PinnedCertificate,
    embedded: Sequence[PinnedCertificate],
    roots: Sequence[PinnedCertificate],
    at: datetime,
) -> list[PinnedCertificate]:
    """The shortest path from the signer to a pinned root (RFC 5280 section 6.1, without name constraints)."""
    _refuse_unknown(signer.x509)
    if not _valid(signer.x509, at):
        raise ProofError("the signer's certificate was not valid at the time that the timestamp states")
    paths, seen = [[signer]], {signer.encoded}
    for _ in range(_PATH_CERTIFICATES_MAX):
        longer = []
        for path in paths:
            for issuer in roots:
                if _issued(issuer, path, at):
                    return [*path, issuer]
            for issuer in embedded:
                # Each is tried once, at its shortest distance: a stranger's file must not make the search explode.
                if issuer.encoded not in seen and _issued(issuer, path, at):
                    seen.add(issuer.encoded)
                    longer.append([*path, issuer])
        paths = longer
    raise ProofError("the signer's certificate leads to no pinned root that was valid at the time stated")


def _issued(issuer: PinnedCertificate, path: Sequence[PinnedCertificate], at: datetime) -> bool:
    """Whether `issuer` was a valid authority at that time and has signed the last certificate of the path."""
    last = path[-1]
    if issuer.subject != last.issuer or not _valid(issuer.x509, at):
        return False
    try:
        # Those that were issued to their own issuer, in a change of keys, do not count (RFC 5280 section 4.2.1.9).
        below = sum(1 for one in path[1:] if one.subject != one.issuer)
        if not _may_issue(issuer.x509, below=below) or not _strong(last.x509):
            return False
        _refuse_unknown(issuer.x509)
        last.x509.verify_directly_issued_by(issuer.x509)
    except (*_CERTIFICATE_ERRORS, InvalidSignature, ProofError):
        return False
    return True


def _valid(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc


def _strong(certificate: x509.Certificate) -> bool:
    """Whether it was signed over a hash that nobody can collide."""
    if certificate.signature_algorithm_oid.dotted_string == _ED25519_OID:
        return True
    return isinstance(certificate.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)


def _may_issue(certificate: x509.Certificate, *, below: int) -> bool:
    """Whether it is an authority's, with at most as many authorities below it as it allows."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.value.ca or (usage is not None and not usage.value.key_cert_sign):
        return False
    return constraints.value.path_length is None or below <= constraints.value.path_length


def _refuse_unknown(certificate: x509.Certificate) -> None:
    if any(extension.critical and extension.oid not in _CRITICAL_KNOWN for extension in certificate.extensions):
        raise ProofError("a certificate of the timestamp has a critical extension that this verifier does not know")


def _check_purpose(certificate: x509.Certificate) -> None:
    """RFC 3161 section 2.3: one critical purpose, time stamping; a key usage, if stated, for signatures alone."""
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is None or not purposes.critical or list(purposes.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise ProofError("the signer's certificate is not one for timestamps alone, marked critical")
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise ProofError("the signer's certificate is a certificate authority's")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None:
        value = usage.value
        others = (value.key_encipherment, value.data_encipherment, value.key_agreement, value.key_cert_sign)
        if any(others) or value.crl_sign or not (value.digital_signature or value.content_commitment):
            raise ProofError("the signer's certificate allows its key another use than signatures")


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> "x509.Extension[_Kind] | None":
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


# --- the signature --------------------------------------------------------------------------------------------


def _check_attributes(token: TimestampToken, certificate: PinnedCertificate) -> list[_CertificateId]:
    """Content type, digest, and that the signer's certificate is the first one named; all that are named."""
    attributes = token.signer.attributes
    kind = attributes.get(_CONTENT_TYPE_OID)
    if kind is None or DerReader(kind.encoded, "the timestamp's content type").oid() != TST_INFO_OID:
        raise ProofError("the timestamp's signature does not say that it is over a timestamp")
    digest = hashes.Hash(_TOKEN_HASH[token.signer.digest])
    digest.update(token.content)
    stated = attributes.get(_MESSAGE_DIGEST_OID)
    if stated is None or stated.tag != DER_OCTETS or stated.content != digest.finalize():
        raise ProofError("the timestamp's signature is over another content than the one it holds")
    ids: list[_CertificateId] = []
    for oid in (_SIGNING_CERTIFICATE_OID, _SIGNING_CERTIFICATE_V2_OID):
        if (value := attributes.get(oid)) is not None:
            named = _read_certificate_ids(value, with_hash=oid == _SIGNING_CERTIFICATE_V2_OID)
            if not named[0].names(certificate):
                raise ProofError("the timestamp was signed for another certificate than the one that it holds")
            ids += named
    if not ids:
        raise ProofError("the timestamp's signature does not name the signer's certificate")
    return ids


def _read_certificate_ids(value: DerValue, *, with_hash: bool) -> list[_CertificateId]:
    """SigningCertificate (RFC 2634 section 5.4) and, `with_hash`, SigningCertificateV2 (RFC 5035 section 3)."""
    reader = DerReader(value.encoded, "the timestamp's note of its certificates").inside(DER_SEQUENCE)
    listed = reader.inside(DER_SEQUENCE)
    ids = []
    while listed.more:
        one = listed.inside(DER_SEQUENCE)
        name = "sha1"
        if with_hash:
            name = _TOKEN_HASH[read_token_hash(one) if one.tag() == DER_SEQUENCE else SHA256_OID].name
        digest = one.next(DER_OCTETS).content
        issuer = serial = None
        if one.more:
            place = one.inside(DER_SEQUENCE)
            names = place.inside(DER_SEQUENCE)
            issuer, serial = names.next(0xA4).content, place.integer()
            names.end()
            place.end()
        one.end()
        ids.append(_CertificateId(name, digest, issuer, serial))
    if not ids:
        raise ProofError("the timestamp's signature does not name the signer's certificate")
    return ids


def _check_signature(signer: TokenSigner, certificate: PinnedCertificate) -> None:
    """The signature over the signed attributes, with the one algorithm that key and SignerInfo agree on."""
    oid, chosen = signer.algorithm, _TOKEN_HASH[signer.digest]
    named = _RSA_WITH.get(oid) or _ECDSA_WITH.get(oid) or signer.digest
    if named != signer.digest:
        raise ProofError("the timestamp's signature uses another hash than it states")
    try:
        key = certificate.x509.public_key()
        if isinstance(key, rsa.RSAPublicKey) and (oid == _RSA_OID or oid in _RSA_WITH):
            key.verify(signer.signature, signer.signed, padding.PKCS1v15(), chosen)
        elif isinstance(key, rsa.RSAPublicKey) and oid == _RSA_PSS_OID:
            salt = _read_pss(signer.parameters, signer.digest)
            key.verify(signer.signature, signer.signed, padding.PSS(padding.MGF1(chosen), salt), chosen)
        elif isinstance(key, ec.EllipticCurvePublicKey) and oid in _ECDSA_WITH:
            key.verify(signer.signature, signer.signed, ec.ECDSA(chosen))
        elif isinstance(key, ed25519.Ed25519PublicKey) and oid == _ED25519_OID:
            key.verify(signer.signature, signer.signed)
        else:
            raise ProofError("the timestamp's signature is of a kind that this verifier does not know")
    except InvalidSignature as error:
        raise ProofError("the timestamp's signature does not verify") from error
    except _CERTIFICATE_ERRORS as error:
        raise ProofError("the key of the timestamp's signer cannot be used") from error


def _read_pss(parameters: DerValue | None, digest: str) -> int:
    """The salt's length; the hash must be the digest's throughout (RFC 4055 section 3.1)."""
    what = "the timestamp's signature algorithm"
    if parameters is None:
        raise ProofError(f"{what} lacks its parameters")
    body = DerReader(parameters.encoded, what).inside(DER_SEQUENCE)
    hash_name = read_token_hash(body.inside(0xA0))
    mask, mask_hash = read_algorithm(body.inside(0xA1))
    salt = body.inside(0xA2).integer() if body.tag() == 0xA2 else 20
    trailer = body.inside(0xA3).integer() if body.tag() == 0xA3 else 1
    body.end()
    if mask != _MGF1_OID or mask_hash is None or trailer != 1 or salt < 0:
        raise ProofError(f"{what} has parameters that this verifier does not know")
    if {hash_name, read_token_hash(DerReader(mask_hash.encoded, what))} != {digest}:
        raise ProofError(f"{what} mixes hashes")
    return salt
