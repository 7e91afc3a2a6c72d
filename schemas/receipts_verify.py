"""Verification of a receipt, offline: a JWS (RFC 7515, EdDSA of RFC 8037) whose claims carry a proof of their event.

Invariant: nothing inside a receipt is looked at before its signature verified under a key that the reader brought, and
no claim about the event is believed that the log's record does not say as well (docs/proof-format.md, Receipts).
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.bundle import Bundle, verify_bundle
from schemas.errors import Problem, ProofError
from schemas.steps import Run, Step
from schemas.strict_json import read_canonical, read_json

RECEIPT_FORMAT: Final = "sayso-receipt/v1"
RECEIPT_TYPE: Final = "sayso-receipt+jwt"
RECEIPT_ALGORITHM: Final = "EdDSA"
ISO_27560: Final = "ISO/IEC TS 27560:2023"
KANTARA_1_1: Final = "KI-CR-v1.1.0"
# Above the largest event and the longest path; a verifier need not read more of a stranger's text.
RECEIPT_CHARS_MAX: Final = 1024 * 1024

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_KEY_BYTES: Final = 32

# Event type -> the DPV consent status of a decision that ends or withholds consent; refused where it is not named.
_DENIED: Final = {
    "consent.withdrawn": "dpv:ConsentWithdrawn",
    "consent.expired": "dpv:ConsentExpired",
    "consent.invalidated": "dpv:ConsentInvalidated",
}


def consent_states(what: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(purpose, DPV consent status) for each decision about consent in the part `what`, in the event's order.

    A grant that waits for its confirmation (double opt-in) is a request still, not a consent.
    """
    unconfirmed = "double_opt_in" in what and "confirmed_at" not in what["double_opt_in"]
    granted = "dpv:RenewedConsentGiven" if what["type"] == "consent.renewed" else "dpv:ConsentGiven"
    states = {
        "granted": "dpv:ConsentRequested" if unconfirmed else granted,
        "denied": _DENIED.get(what["type"], "dpv:ConsentRefused"),
    }
    decisions = what.get("decisions", [])
    return [(d["purpose"], states[d["decision"]]) for d in decisions if d["legal_basis"] == "consent"]


def granted_purposes(what: Mapping[str, Any]) -> list[str]:
    """The purposes that the event says consent is given to, each once: all that a Kantara receipt can state."""
    given = {"dpv:ConsentGiven", "dpv:RenewedConsentGiven"}
    return list(dict.fromkeys(purpose for purpose, state in consent_states(what) if state in given))


def read_jwks(raw: bytes) -> dict[str, bytes]:
    """The Ed25519 keys of a JWK set (RFC 7517; RFC 8037) by their kid, 32 bytes each. Raises ProofError."""
    try:
        keys = read_json(raw)[0]["keys"]
        found = {jwk["kid"]: _decode(jwk["x"]) for jwk in keys if (jwk["kty"], jwk.get("crv")) == ("OKP", "Ed25519")}
    except (Problem, KeyError, TypeError, AttributeError):
        raise ProofError("not a JWK set: fetch it from /.well-known/jwks.json of the service") from None
    if not found or any(len(key) != _KEY_BYTES for key in found.values()):
        raise ProofError("the JWK set holds no Ed25519 key, or one of a wrong length")
    return found


def verify_receipt(
    jws: str,
    keys: Mapping[str, bytes],
    *,
    vkey: str | None = None,
    origin: str | None = None,
    done: Callable[[Step], None] = lambda _: None,
) -> dict[str, Any]:
    """Verify a receipt offline and return its claims; `done` is told each step as it ends, a failed one too.

    keys: kid -> raw Ed25519 public key, of a source other than the receipt. vkey, origin: as for verify_bundle.
    Raises ProofError.
    """
    run = Run(done)
    # 1. The signature is that of a key which the reader trusts, with the one algorithm there is.
    with run.step("signature") as say:
        payload, kid = open_jws(jws, keys, RECEIPT_TYPE)
        say(f"{RECEIPT_ALGORITHM}, key {kid}")
    # 2. The claims are a receipt of this version, in canonical JSON.
    with run.step("receipt") as say:
        claims, proof = _claims(payload)
        say(ISO_27560 if "schema_version" in claims else KANTARA_1_1)
    # 3. The proof inside it verifies like any other.
    with run.step("proof") as say:

        def inner(step: Step) -> None:
            if step.outcome == "remark":
                say(step.text, remark=True)

        bundle = verify_bundle(proof["tlog_proof"].encode(), vkey=vkey, origin=origin, done=inner)
        say(f"the record is in {bundle.origin} at index {bundle.index}")
    # 4. The claims say what the record says.
    with run.step("claims") as say:
        _compare(claims, proof, bundle)
        say("the receipt says of the event what the log's record says")
    return claims


def stated_type(jws: str) -> str | None:
    """What the header says it is, believed by nobody yet; None if that cannot be read."""
    try:
        typ = read_canonical(_decode(jws.partition(".")[0]), "the header").get("typ")
    except ProofError:
        return None
    return typ if isinstance(typ, str) else None


def open_jws(jws: str, keys: Mapping[str, bytes], typ: str) -> tuple[bytes, str]:
    """The signed payload and the kid. RFC 7515, 5.2, with every choice that a header could offer taken away.

    keys: as for `verify_receipt`. typ: the one type that the header may state. Raises ProofError.
    """
    segments = jws.split(".")
    if len(jws) > RECEIPT_CHARS_MAX or len(segments) != 3:
        raise ProofError("not a receipt: it must be a JWS in compact form, three pieces with dots between them")
    header, payload, signature = (_decode(segment) for segment in segments)
    members = read_canonical(header, "the header of the receipt")
    # `crit`, embedded keys and the like are refused with everything else that is not exactly these three.
    if set(members) != {"alg", "kid", "typ"}:
        raise ProofError("the header of the receipt must have the members alg, kid and typ and no others")
    if (members["alg"], members["typ"]) != (RECEIPT_ALGORITHM, typ):
        raise ProofError(f"the header of the receipt must state {RECEIPT_ALGORITHM} and {typ}")
    kid = members["kid"]
    if not isinstance(kid, str) or kid not in keys:
        raise ProofError("the receipt is signed under a key that is not among those given: fetch the published ones")
    try:
        Ed25519PublicKey.from_public_bytes(keys[kid]).verify(signature, jws.rpartition(".")[0].encode())
    except InvalidSignature:
        raise ProofError("the signature of the receipt does not verify") from None
    return payload, kid


def _decode(segment: Any) -> bytes:
    """Canonical base64url without padding (RFC 7515, 2): one spelling for each value."""
    if not isinstance(segment, str) or _SEGMENT.fullmatch(segment) is None:
        raise ProofError("a piece of the receipt is not base64url without padding")
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise ProofError("a piece of the receipt is not base64url without padding") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise ProofError("a piece of the receipt is not spelt canonically")
    return raw


def _claims(payload: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    # Strings may hold newlines, as a proof does.
    claims = read_canonical(payload, "the payload of the receipt", controls=True)
    proof = claims.get("proof")
    if not isinstance(proof, dict) or proof.get("format") != RECEIPT_FORMAT:
        raise ProofError(f"not a receipt of the format {RECEIPT_FORMAT}: use a verifier of the version that made it")
    if set(proof) != {"format", "log", "tlog_proof"} or not isinstance(proof["tlog_proof"], str):
        raise ProofError("the receipt's proof must have the members format, log and tlog_proof")
    if (claims.get("schema_version") == ISO_27560) == (claims.get("version") == KANTARA_1_1):
        raise ProofError(f"the receipt must be one of {ISO_27560} and {KANTARA_1_1}")
    return claims, proof


def _compare(claims: Mapping[str, Any], proof: Mapping[str, Any], bundle: Bundle) -> None:
    """Hold what the receipt says of the event against the part `what`. Raises ProofError."""
    if proof["log"] != {"origin": bundle.origin, "vkey": bundle.vkey}:
        raise ProofError("the receipt names another log than its proof")
    if "what" not in bundle.disclosed:
        raise ProofError("the receipt's proof keeps the part 'what' back, so nothing ties the receipt to the record")
    what = read_canonical(bundle.disclosed["what"][1], "the part 'what'")
    says = _kantara_says if "version" in claims else _iso_says
    try:
        stated, recorded = says(claims, what, bundle)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise ProofError("the receipt, or the record it is of, lacks what a receipt must hold") from None
    for name, value in stated.items():
        if value != recorded[name]:
            raise ProofError(f"the receipt and the log's record differ in: {name}")


Said = tuple[dict[str, Any], dict[str, Any]]


def _iso_says(claims: Mapping[str, Any], what: Mapping[str, Any], bundle: Bundle) -> Said:
    states = consent_states(what)
    stated = {
        "record_id": claims["record_id"],
        "privacy_notice": claims["processing"]["privacy_notice"]["sha256"],
        "purpose": [purpose["purpose_id"] for purpose in claims["processing"]["purposes"]],
        "event_state": [(event["purpose_id"], event["event_state"]) for event in claims["events"]],
        "event_time": {event["event_time"] for event in claims["events"]},
    }
    recorded = {
        "record_id": bundle.event,
        "privacy_notice": what["notice"]["sha256"],
        "purpose": list(dict.fromkeys(purpose for purpose, _ in states)),
        "event_state": states,
        "event_time": {what["time"]},
    }
    return stated, recorded


def _kantara_says(claims: Mapping[str, Any], what: Mapping[str, Any], _bundle: Bundle) -> Said:
    purposes = [purpose for service in claims["services"] for purpose in service["purposes"]]
    stated = {
        "consentTimestamp": claims["consentTimestamp"],
        "services": [service["service"] for service in claims["services"]],
        "purposeCategory": [purpose["purposeCategory"][0] for purpose in purposes],
    }
    recorded = {
        "consentTimestamp": timestamp_of(what),
        "services": [what["site"]],
        "purposeCategory": granted_purposes(what),
    }
    return stated, recorded


def timestamp_of(what: Mapping[str, Any]) -> int:
    """The time of the act in whole seconds since 1970."""
    return int(datetime.fromisoformat(what["time"]).timestamp())
