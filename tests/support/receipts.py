"""What a receipt is made of, without a database: a proven record with fixed keys, its notice and its controller."""

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.bundle import Bundle
from schemas.canonical import canonical_json
from schemas.catalogue import services
from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.event_types import entry_class
from schemas.events import parse_time
from schemas.note import log_key
from schemas.notices import NoticeContent, notice_bytes, notice_hash
from schemas.parties import ControllerDetails, details_bytes
from schemas.receipts import Stated
from schemas.receipts_verify import RECEIPT_TYPE
from schemas.record import NO_PREVIOUS, PART_NAMES, Reception, commitment, entry_bytes, part_digest, parts_of
from schemas.strict_json import read_json
from tests.support import oracle
from tests.support.deployment import consent_event
from tests.support.rows import controller_details, notice_content

ORIGIN = "log.example/logs/shop"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = str(log_key(ORIGIN, LOG_KEY))
RECEIPT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
KID = hashlib.sha256(RECEIPT_KEY.public_key().public_bytes_raw()).hexdigest()[:16]
KEYS = {KID: RECEIPT_KEY.public_key().public_bytes_raw()}
SUBJECT = "6f2f3c1f-0b11-4a8e-9d5b-9a3c1f605f43"
CHAT = ("chat-history", "chat-proactive")


def shown_notice(**changes: Any) -> dict[str, Any]:
    """A notice that asks for both purposes of the example event."""
    asked = notice_content()["purposes"][0]
    purposes = [{**asked, "purpose": name, "title": f"Title of {name}"} for name in CHAT]
    return notice_content(purposes=purposes, **changes)


def proven(event: dict[str, Any], notice: bytes | None, *, disclosed: tuple[str, ...] = ("who", "what")) -> Bundle:
    """The proof of a record of `event`, the third of five in its log."""
    parts = parts_of(event, Reception("shop.example", parse_time(event["time"]), "server", "rendered", []))
    salts = [hashlib.sha256(name.encode()).digest() for name in PART_NAMES]
    digests = [part_digest(name, salt, part) for name, salt, part in zip(PART_NAMES, salts, parts, strict=True)]
    entry = entry_bytes(
        log=ORIGIN,
        index=2,
        prev=NO_PREVIOUS,
        ref="ab" * 16,
        entry_class=entry_class(event["type"]),
        recorded_at="2026-11-01T09:00:00Z",
        commitment=commitment(*digests).hex(),
        notice=None if notice is None else notice_hash(notice).hex(),
    )
    leaves = [oracle.leaf(entry if n == 2 else b"%d" % n) for n in range(5)]
    named = list(zip(PART_NAMES, salts, parts, digests, strict=True))
    return Bundle(
        event=event["id"],
        origin=ORIGIN,
        vkey=VKEY,
        index=2,
        entry=entry,
        path=tuple(oracle.path(2, leaves)),
        checkpoint=signed_checkpoint(Checkpoint(ORIGIN, 5, oracle.mth(leaves)), LOG_KEY),
        disclosed={name: (salt, part) for name, salt, part, _ in named if name in disclosed},
        digests={name: digest for name, _, _, digest in named if name not in disclosed},
        notice=notice,
    )


def stated(
    *, notice: dict[str, Any] | None = None, details: dict[str, Any] | None = None, known: bool = True, **changes: Any
) -> Stated:
    """Everything for a receipt of the example event under `changes`; `known`: the notice's words are."""
    content = notice_bytes(shown_notice() if notice is None else notice)
    event = consent_event(1, **{"notice": {"sha256": notice_hash(content).hex(), "language": "fr"}, **changes})
    bundle = proven(event, content if known else None)
    parts = parts_of(event, Reception("shop.example", parse_time(event["time"]), "server", "rendered", []))
    return Stated(
        bundle=bundle,
        what=read_json(parts.what)[0],
        principal=SUBJECT,
        notice=NoticeContent.model_validate_json(content) if known else None,
        notice_sha256=notice_hash(content).hex(),
        words="rendered",
        controller=ControllerDetails.model_validate_json(details_bytes(details or controller_details())),
        catalogue=services(),
    )


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None, key: Ed25519PrivateKey = RECEIPT_KEY) -> str:
    """The JWS of any claims under any header, made by hand: what a forger with a key could send."""
    members = {"alg": "EdDSA", "kid": KID, "typ": RECEIPT_TYPE} if header is None else header
    text = f"{base64url(canonical_json(members))}.{base64url(canonical_json(claims))}"
    return f"{text}.{base64url(key.sign(text.encode()))}"
