"""What an RFC 3161 response holds, read strictly; nothing here is verified (schemas.timestamp does that).

TimeStampResp and TSTInfo of RFC 3161 section 2.4.2, SignedData and SignerInfo of RFC 5652 section 5.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.der import (
    DER_BOOLEAN,
    DER_INTEGER,
    DER_NULL,
    DER_OCTETS,
    DER_SEQUENCE,
    DER_SET,
    DER_TIME,
    DerReader,
    DerValue,
)
from schemas.errors import ProofError

# Far above any token with a chain of certificates in it.
RESPONSE_BYTES_MAX: Final = 64 * 1024
SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"
# In the order of the signature algorithms that go with them.
TOKEN_HASHES: Final = (SHA256_OID, "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3")
TST_INFO_OID: Final = "1.2.840.113549.1.9.16.1.4"
_SIGNED_DATA_OID: Final = "1.2.840.113549.1.7.2"
_SERIAL_BITS_MAX: Final = 160
_GENERALIZED_TIME = re.compile(rb"(\d{14})(?:\.(\d{1,9}))?Z")


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """TSTInfo (RFC 3161 section 2.4.2) as it stands in a token, nothing of it verified; tsa is the DER of a name."""

    policy: str
    imprint: bytes
    serial: int
    gen_time: datetime
    accuracy: timedelta | None
    nonce: int | None
    tsa: bytes | None


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """SignerInfo (RFC 5652 section 5.3); signed is what the signature covers, attributes the values by type."""

    issuer: bytes
    serial: int
    digest: str
    signed: bytes
    attributes: Mapping[str, DerValue]
    algorithm: str
    parameters: DerValue | None
    signature: bytes


@dataclass(frozen=True, slots=True)
class TimestampToken:
    """A granted TimeStampResp, taken apart and not verified: TSTInfo and its exact bytes, certificates, the signer."""

    info: TokenInfo
    content: bytes
    certificates: tuple[bytes, ...]
    signer: TokenSigner


def parse_timestamp(response: bytes) -> TimestampToken:
    """Take a granted TimeStampResp apart (RFC 3161 section 2.4.2, RFC 5652 section 5). Raises ProofError."""
    if len(response) > RESPONSE_BYTES_MAX:
        raise ProofError(f"the timestamp response is longer than {RESPONSE_BYTES_MAX} bytes")
    # 1. The status; its texts and failure bits are of no use to a verifier.
    reader = DerReader(response, "the timestamp response")
    body = reader.inside(DER_SEQUENCE)
    reader.end()
    if body.inside(DER_SEQUENCE).integer() != 0:
        raise ProofError("the authority has refused: the response's status is not granted")
    # 2. The token: SignedData over TSTInfo, by one signer.
    token = DerReader(body.next(DER_SEQUENCE).content, "the timestamp token")
    body.end()
    if token.oid() != _SIGNED_DATA_OID:
        raise ProofError("the timestamp token is not signed data")
    signed = token.inside(0xA0).inside(DER_SEQUENCE)
    token.end()
    if signed.integer() not in {3, 4, 5}:
        raise ProofError("the timestamp token has another version than signed data with a content type")
    digests = _read_digests(signed.inside(DER_SET))
    encapsulated = signed.inside(DER_SEQUENCE)
    if encapsulated.oid() != TST_INFO_OID:
        raise ProofError("the timestamp token signs something other than a timestamp")
    content = encapsulated.inside(0xA0).next(DER_OCTETS).content
    encapsulated.end()
    certificates = []
    if (choices := signed.optional(0xA0)) is not None:
        listed = DerReader(choices.content, "the timestamp's list of certificates")
        while listed.more:
            # In whatever order: signers of OpenSSL's make do not sort this SET. Other kinds than X.509 are passed over.
            if (choice := listed.any()).tag == DER_SEQUENCE:
                certificates.append(choice.encoded)
    signed.optional(0xA1)
    signers = signed.inside(DER_SET)
    signed.end()
    signer = _read_signer(signers.inside(DER_SEQUENCE))
    signers.end()
    if signer.digest not in digests:
        raise ProofError("the timestamp's signer uses a hash that the token does not list")
    return TimestampToken(_read_info(content), content, tuple(certificates), signer)


def _read_info(content: bytes) -> TokenInfo:
    reader = DerReader(content, "the timestamp's content")
    body = reader.inside(DER_SEQUENCE)
    reader.end()
    if body.integer() != 1:
        raise ProofError("the timestamp's content has another version than 1")
    policy = body.oid()
    imprint = body.inside(DER_SEQUENCE)
    if read_token_hash(imprint) != SHA256_OID:
        raise ProofError("the timestamp's imprint is not SHA-256")
    digest = imprint.next(DER_OCTETS).content
    imprint.end()
    serial = body.integer()
    if serial.bit_length() > _SERIAL_BITS_MAX:
        raise ProofError("the timestamp's serial number is longer than 160 bits")
    gen_time = _read_time(body.next(DER_TIME).content)
    accuracy = _read_accuracy(body.inside(DER_SEQUENCE)) if body.tag() == DER_SEQUENCE else None
    if body.tag() == DER_BOOLEAN:
        body.boolean()
    nonce = body.integer() if body.tag() == DER_INTEGER else None
    tsa = None
    if (name := body.optional(0xA0)) is not None:
        general = DerReader(name.content, "the name of the timestamp's authority")
        # A directoryName; under any other kind nothing here could find the certificate.
        tsa = general.next(0xA4).content
        general.end()
    if (extensions := body.optional(0xA1)) is not None:
        _refuse_critical(DerReader(extensions.content, "the timestamp's extensions"))
    body.end()
    return TokenInfo(policy, digest, serial, gen_time, accuracy, nonce, tsa)


def _refuse_critical(extensions: DerReader) -> None:
    while extensions.more:
        extension = extensions.inside(DER_SEQUENCE)
        extension.oid()
        if extension.tag() == DER_BOOLEAN and extension.boolean():
            raise ProofError("the timestamp holds a critical extension that this verifier does not know")


def _read_time(content: bytes) -> datetime:
    match = _GENERALIZED_TIME.fullmatch(content)
    if match is None:
        raise ProofError("the timestamp's time is not one in UTC, to the second or finer")
    try:
        whole = datetime.strptime(match[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise ProofError("the timestamp's time is no time of any day") from error
    return whole + timedelta(microseconds=int((match[2] or b"").ljust(6, b"0")[:6]))


def _read_accuracy(body: DerReader) -> timedelta:
    seconds = body.integer() if body.tag() == DER_INTEGER else 0
    millis = body.integer(0x80) if body.tag() == 0x80 else 0
    micros = body.integer(0x81) if body.tag() == 0x81 else 0
    body.end()
    if not (0 <= seconds < 1 << 31 and 0 <= millis < 1000 and 0 <= micros < 1000):
        raise ProofError("the timestamp's accuracy is out of range")
    return timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)


def _read_digests(listed: DerReader) -> set[str]:
    digests = set()
    while listed.more:
        digests.add(read_token_hash(listed))
    return digests


def _read_signer(body: DerReader) -> TokenSigner:
    if body.integer() != 1:
        raise ProofError("the timestamp's signer is not named by issuer and serial number")
    named = body.inside(DER_SEQUENCE)
    issuer, serial = named.next(DER_SEQUENCE).encoded, named.integer()
    named.end()
    digest = read_token_hash(body)
    attributes = body.next(0xA0)
    algorithm, parameters = read_algorithm(body)
    signature = body.next(DER_OCTETS).content
    # Nobody signed what may follow.
    body.optional(0xA1)
    body.end()
    # RFC 5652 section 5.4: the signature covers the attributes under the tag of a SET.
    signed = bytes([DER_SET]) + attributes.encoded[1:]
    return TokenSigner(issuer, serial, digest, signed, _read_attributes(attributes), algorithm, parameters, signature)


def _read_attributes(attributes: DerValue) -> dict[str, DerValue]:
    found: dict[str, DerValue] = {}
    reader = DerReader(attributes.content, "a signed attribute of the timestamp")
    while reader.more:
        attribute = reader.inside(DER_SEQUENCE)
        kind, values = attribute.oid(), attribute.inside(DER_SET)
        attribute.end()
        if kind in found:
            raise ProofError("the timestamp has the same signed attribute twice")
        found[kind] = values.any()
        values.end()
    return found


def read_algorithm(reader: DerReader) -> tuple[str, DerValue | None]:
    """AlgorithmIdentifier: the dotted name, and the parameters if there are any. Raises ProofError."""
    body = reader.inside(DER_SEQUENCE)
    oid, parameters = body.oid(), body.any() if body.more else None
    body.end()
    return oid, parameters


def read_token_hash(reader: DerReader) -> str:
    """AlgorithmIdentifier of one of TOKEN_HASHES, dotted. Raises ProofError for any other."""
    oid, parameters = read_algorithm(reader)
    if oid not in TOKEN_HASHES or (parameters is not None and parameters.tag != DER_NULL):
        raise ProofError("the timestamp uses a hash other than SHA-256, SHA-384 and SHA-512")
    return oid
