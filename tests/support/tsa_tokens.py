"""Certificates with chosen dates and purposes, and RFC 3161 tokens written by hand, each with one thing wrong.

What `openssl ts` would never write: a time in the past, a signer without the right purpose, a missing attribute.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import new as new_hash
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
HASH_OIDS = {name: f"2.16.840.1.101.3.4.2.{n}" for n, name in enumerate(HASHES, start=1)} | {"sha1": "1.3.14.3.2.26"}
POLICY = "1.2.3.4.1"
TST_INFO = "1.2.840.113549.1.9.16.1.4"


@dataclass(frozen=True)
class Identity:
    """A certificate, its private key, and the certificates above it, up to the root."""

    certificate: x509.Certificate
    key: PrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def root_pem(self) -> bytes:
        return (self.above[-1] if self.above else self.certificate).public_bytes(Encoding.PEM)


def issue(
    name: str,
    issuer: Identity | None = None,
    *,
    key: PrivateKey | None = None,
    ca: bool = False,
    path_length: int | None = None,
    key_cert_sign: bool | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.TIME_STAMPING,),
    critical_purposes: bool = True,
    encipherment: bool = False,
    usage: bool = True,
    extra: x509.ExtensionType | None = None,
    hash_name: hashes.SHA224 | hashes.SHA256 | None = None,
) -> Identity:
    """A certificate of `issuer`, or one signed by itself; a signer of timestamps unless `ca`."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signing_key = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start or now - timedelta(days=3650))
        .not_valid_after(end or now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    )
    if usage:
        may = x509.KeyUsage(
            digital_signature=not ca,
            key_cert_sign=ca if key_cert_sign is None else key_cert_sign,
            crl_sign=ca,
            key_encipherment=encipherment,
            content_commitment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(may, critical=True)
    if not ca and purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=critical_purposes)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    algorithm = None if isinstance(signing_key, ed25519.Ed25519PrivateKey) else hash_name or hashes.SHA256()
    certificate = builder.sign(signing_key, algorithm)
    above = () if issuer is None else (issuer.certificate, *issuer.above)
    return Identity(certificate, key, above)


# --- DER ------------------------------------------------------------------------------------------------------


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def integer(number: int, tag: int = 0x02) -> bytes:
    bits = (~number if number < 0 else number).bit_length()
    return der(tag, number.to_bytes(bits // 8 + 1, "big", signed=True))


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(number) for number in dotted.split("."))
    encoded = b""
    for number in (40 * first + second, *rest):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.insert(0, number & 0x7F | 0x80)
        encoded += bytes(groups)
    return der(0x06, encoded)


def algorithm(dotted: str, *parameters: bytes) -> bytes:
    return sequence(oid(dotted), *parameters)


def hash_algorithm(name: str) -> bytes:
    return algorithm(HASH_OIDS[name], der(0x05))


# --- tokens ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How to write a token; `replace` one field to get one thing wrong."""

    message: bytes
    signer: Identity
    gen_time: datetime | str
    nonce: int | None = None
    policy: str = POLICY
    serial: int = 4711
    hash_name: str = "sha256"
    pss_salt: int | None = None
    status: int = 0
    version: int = 1
    accuracy: bytes = sequence(integer(1), integer(500, 0x80))
    tsa: x509.Name | None = None
    extensions: bytes = b""
    imprint_hash: str = "sha256"
    # What the imprint claims to be, if it is not that.
    imprint_claim: str | None = None
    # The certificates in the token; None for the signer's and all above it but the root.
    certificates: Sequence[x509.Certificate] | None = None
    # Which certificate the attribute names, how, and which further ones.
    ess: str | None = "v2"
    ess_certificate: x509.Certificate | None = None
    ess_further: Sequence[x509.Certificate] = ()
    issuer_serial: bool = False
    content_type: str | None = TST_INFO
    encapsulated_type: str = TST_INFO
    digest_of: bytes | None = None
    # Signs with another key than the certificate's.
    key: PrivateKey | None = None
    signers: int = 1
    doubled_attribute: bool = False
    behind: bytes = b""

    def but(self, **changes: Any) -> "Recipe":
        return replace(self, **changes)


def write_token(recipe: Recipe) -> bytes:
    """The TimeStampResp."""
    info = _info(recipe)
    named = sequence(oid(recipe.encapsulated_type), der(0xA0, der(0x04, info)))
    certificates = recipe.certificates
    if certificates is None:
        certificates = (recipe.signer.certificate, *recipe.signer.above[:-1])
    # A SET in DER is sorted.
    listed = sorted(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    signer = _signer_info(recipe, info)
    signed = sequence(
        integer(3),
        der(0x31, hash_algorithm(recipe.hash_name)),
        named,
        der(0xA0, *listed) if listed else b"",
        der(0x31, *[signer] * recipe.signers),
    )
    token = sequence(oid("1.2.840.113549.1.7.2"), der(0xA0, signed))
    return sequence(sequence(integer(recipe.status)), token) + recipe.behind


def _info(recipe: Recipe) -> bytes:
    gen_time = recipe.gen_time
    stated = gen_time if isinstance(gen_time, str) else gen_time.strftime("%Y%m%d%H%M%SZ")
    digest = new_hash(recipe.imprint_hash, recipe.message).digest()
    return sequence(
        integer(recipe.version),
        oid(recipe.policy),
        sequence(hash_algorithm(recipe.imprint_claim or recipe.imprint_hash), der(0x04, digest)),
        integer(recipe.serial),
        der(0x18, stated.encode()),
        recipe.accuracy,
        b"" if recipe.nonce is None else integer(recipe.nonce),
        b"" if recipe.tsa is None else der(0xA0, der(0xA4, recipe.tsa.public_bytes())),
        recipe.extensions,
    )


def _certificate_id(certificate: x509.Certificate, *, v1: bool, issuer_serial: bool) -> bytes:
    digest = der(0x04, new_hash("sha1" if v1 else "sha256", certificate.public_bytes(Encoding.DER)).digest())
    issuer = sequence(der(0xA4, certificate.issuer.public_bytes()))
    return sequence(digest, sequence(issuer, integer(certificate.serial_number)) if issuer_serial else b"")


def _attributes(recipe: Recipe, info: bytes) -> bytes:
    def attribute(dotted: str, value: bytes) -> bytes:
        return sequence(oid(dotted), der(0x31, value))

    content = info if recipe.digest_of is None else recipe.digest_of
    digest = attribute("1.2.840.113549.1.9.4", der(0x04, new_hash(recipe.hash_name, content).digest()))
    attributes = [digest] * (2 if recipe.doubled_attribute else 1)
    if recipe.content_type is not None:
        attributes.append(attribute("1.2.840.113549.1.9.3", oid(recipe.content_type)))
    if recipe.ess is not None:
        v1 = recipe.ess == "v1"
        named = (recipe.ess_certificate or recipe.signer.certificate, *recipe.ess_further)
        ids = [_certificate_id(one, v1=v1, issuer_serial=recipe.issuer_serial) for one in named]
        kind = "1.2.840.113549.1.9.16.2.12" if v1 else "1.2.840.113549.1.9.16.2.47"
        attributes.append(attribute(kind, sequence(sequence(*ids))))
    return b"".join(sorted(attributes))


def _signer_info(recipe: Recipe, info: bytes) -> bytes:
    certificate, attributes = recipe.signer.certificate, _attributes(recipe, info)
    named, signature = _sign(recipe, recipe.key or recipe.signer.key, der(0x31, attributes))
    return sequence(
        integer(1),
        sequence(certificate.issuer.public_bytes(), integer(certificate.serial_number)),
        hash_algorithm(recipe.hash_name),
        der(0xA0, attributes),
        named,
        der(0x04, signature),
    )


def _sign(recipe: Recipe, key: PrivateKey, signed: bytes) -> tuple[bytes, bytes]:
    """The algorithm's name and the signature."""
    name, chosen = recipe.hash_name, HASHES[recipe.hash_name]
    number = list(HASHES).index(name)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return algorithm("1.3.101.112"), key.sign(signed)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return algorithm(f"1.2.840.10045.4.3.{number + 2}"), key.sign(signed, ec.ECDSA(chosen))
    if recipe.pss_salt is None:
        return algorithm("1.2.840.113549.1.1.1", der(0x05)), key.sign(signed, padding.PKCS1v15(), chosen)
    mask = algorithm("1.2.840.113549.1.1.8", hash_algorithm(name))
    salt = der(0xA2, integer(recipe.pss_salt))
    parameters = sequence(der(0xA0, hash_algorithm(name)), der(0xA1, mask), salt)
    signature = key.sign(signed, padding.PSS(padding.MGF1(chosen), recipe.pss_salt), chosen)
    return algorithm("1.2.840.113549.1.1.10", parameters), signature
