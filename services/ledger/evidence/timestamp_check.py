"""What three verifiers say of one answer of a timestamp authority; only one that they agree on counts.

Ours (schemas.timestamp) states what the token says. rfc3161-client must agree; where its parser refuses a token, not
where its verification does, `openssl ts` decides in its place.
"""

import os
import subprocess
import tempfile
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, NamedTuple

from cryptography import x509
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from schemas.errors import ProofError
from schemas.timestamp import Timestamp, verify_timestamp
from services.ledger.evidence.authorities import Authority

OPENSSL_S: Final = 10
Verifier = Literal["rfc3161-client", "openssl"]


class UnreadableByClient(Exception):
    """The strict parser of rfc3161-client refuses the answer, which says nothing about its signature."""


class Checked(NamedTuple):
    """A verified token, and who besides us has verified it."""

    timestamp: Timestamp
    verified_by: Verifier


def timestamp_request(message_digest: bytes, nonce: bytes, policy: str | None) -> bytes:
    """A TimeStampReq (RFC 3161 section 2.4.1) for a SHA-256 digest, that asks for the certificates as well."""
    algorithm = bytes.fromhex("300d06096086480165030402010500")
    imprint = _der(0x30, algorithm + _der(0x04, message_digest))
    named = b"" if policy is None else _der(0x06, _oid_content(policy))
    number = int.from_bytes(nonce, "big")
    content = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return _der(0x30, _der(0x02, b"\x01") + imprint + named + _der(0x02, content) + _der(0x01, b"\xff"))


def _der(tag: int, content: bytes) -> bytes:
    # Every value of a request is shorter than 128 bytes, but for the longest policies.
    length = len(content)
    return bytes([tag, length] if length < 0x80 else [tag, 0x81, length]) + content


def _oid_content(dotted: str) -> bytes:
    first, second, *rest = (int(number) for number in dotted.split("."))
    encoded = bytearray()
    for number in (40 * first + second, *rest):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        encoded += bytes(reversed(groups))
    return bytes(encoded)


def check_response(response: bytes, note: bytes, nonce: bytes, authority: Authority) -> Checked:
    """Verify an answer over the checkpoint `note`. Raises ProofError with what does not hold; blocking."""
    # 1. Ours; what it says is what will be stored, and the bundle's verifier will say the same.
    timestamp = verify_timestamp(response, note, authority.roots, nonce=nonce, policy=authority.policy)
    try:
        # 2. The library.
        if not client_agrees(response, note, nonce, authority):
            raise ProofError("rfc3161-client does not agree that the timestamp verifies")
        return Checked(timestamp, "rfc3161-client")
    except UnreadableByClient:
        # 3. OpenSSL, with all certificates judged at the time stated.
        if not openssl_agrees(response, note, nonce, authority, timestamp.gen_time):
            raise ProofError("rfc3161-client cannot read the timestamp, and openssl does not verify it") from None
        return Checked(timestamp, "openssl")


def client_agrees(response: bytes, note: bytes, nonce: bytes, authority: Authority) -> bool:
    """The verdict of rfc3161-client. Raises UnreadableByClient when its parser gives none."""
    policy = None if authority.policy is None else x509.ObjectIdentifier(authority.policy)
    roots = [root.x509 for root in authority.roots]
    verifier = VerifierBuilder(policy_id=policy, roots=roots, nonce=int.from_bytes(nonce, "big")).build()
    try:
        return verifier.verify_message(decode_timestamp_response(response), note)
    except VerificationError:
        return False
    except ValueError as error:
        raise UnreadableByClient from error


def openssl_agrees(response: bytes, note: bytes, nonce: bytes, authority: Authority, at: datetime) -> bool:
    """The verdict of `openssl ts -verify`, certificates judged at `at`. Raises ProofError when there is no openssl."""
    with tempfile.TemporaryDirectory(prefix="sayso-timestamp-") as folder:
        answer, request = Path(folder, "answer.tsr"), Path(folder, "request.tsq")
        answer.write_bytes(response)
        request.write_bytes(timestamp_request(sha256(note).digest(), nonce, authority.policy))
        command = ["openssl", "ts", "-verify", "-in", str(answer), "-queryfile", str(request)]
        command += ["-CAfile", str(authority.roots_file), "-attime", str(int(at.timestamp()))]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=OPENSSL_S,
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProofError("openssl cannot be run: install it, so that this authority's tokens verify") from error
    return done.returncode == 0 and b"Verification: OK" in done.stdout
