"""Proof bundles for tests: one with everything a bundle can hold, and bundles changed with care.

`python -m tests.support.bundles` made the golden bundle in schemas/vectors/archive, once: its timestamp cannot be made
again. What is committed there must verify for ever: never write it anew, add another beside it.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.archive import MANIFEST, read_archive
from schemas.bundle_check import Pins
from schemas.canonical import canonical_json
from schemas.checkpoint import parse_checkpoint
from schemas.log_keys import KeyStatement
from schemas.manifest import notice_text, read_manifest, write_manifest
from schemas.note import log_key
from schemas.receipts_27560 import receipt_27560
from schemas.strict_json import read_json
from services.query.bundles.files import Dossier, LogEvidence, Proven, Token, bundle_zip, report_facts
from services.query.bundles.report.pdf import report_pdf
from tests.support import oracle
from tests.support.receipts import KID, LOG_KEY, ORIGIN, RECEIPT_KEY, VKEY, base64url, shown_notice, signed, stated
from tests.support.tsa import TimestampAuthority
from tests.support.witness import cosign, key_pair

FOLDER: Final = Path(__file__).resolve().parents[2] / "schemas" / "vectors" / "archive"
# What a reader has from elsewhere, for the golden bundle: the log's second key, and all other anchors.
PIN_FILES: Final = ("policy.txt", "roots.pem", "receipts.jwks", "vkey.txt")
NEXT_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(0x80, 0xA0)))
WITNESSES: Final = (("witness.example.com/w1", 4, bytes(range(0x20, 0x40))), ("witness.example.com/pq1", 6, bytes(32)))
COSIGNED_AT: Final = 1793530800
NONCE: Final = bytes(range(1, 9))
MADE_AT: Final = "2026-11-22T10:05:00.000000Z"
FROM_SIZE: Final = 3
STATE: Final = {
    "at": MADE_AT,
    "known_at": MADE_AT,
    "decisions": [
        {"purpose": "chat-history", "legal_basis": "consent", "decision": "granted", "valid": True, "reasons": []},
        {"purpose": "chat-proactive", "legal_basis": "consent", "decision": "denied", "valid": False}
        | {"reasons": ["denied"]},
    ],
}


def keys_document(*, rotated: bool = True, from_size: int = FROM_SIZE) -> bytes:
    """The keys of the log: one, or a second that signs from checkpoints larger than `from_size` on."""
    first = {"number": 1, "vkey": VKEY, "made_at": "2026-01-01T00:00:00Z", "ends_at": None, "statement": None}
    keys: list[dict[str, Any]] = [first]
    if rotated:
        new = log_key(ORIGIN, NEXT_KEY)
        statement = KeyStatement(2, log_key(ORIGIN, LOG_KEY), new, from_size).sign(LOG_KEY.sign, NEXT_KEY.sign)
        keys.append({**first, "number": 2, "vkey": str(new), "statement": statement})
    return canonical_json({"format": "sayso-keys/v1", "log": {"name": "shop", "origin": ORIGIN}, "keys": keys})


def policy() -> bytes:
    """Both witnesses of the golden bundle."""
    lines = [f"log {VKEY}"]
    lines += [f"witness w{n} {key_pair(*witness)[0]}" for n, witness in enumerate(WITNESSES)]
    return "".join(f"{line}\n" for line in [*lines, "group all-of-them all w0 w1", "quorum all-of-them"]).encode()


def dossier(authority: TimestampAuthority) -> Dossier:
    """Everything there is: words with HTML, a receipt, a second key, two witnesses, a timestamp."""
    told = stated(notice=shown_notice(html="<p>Ces échanges, gardés ?</p>", ui_sha256="ab" * 32))
    claims = receipt_27560(told).model_dump(by_alias=True, exclude_none=True)
    text = told.bundle.checkpoint.partition("\n\n")[0] + "\n"
    both = f"{text}\n" + "".join(
        oracle.signature_line(ORIGIN, 1, key.public_key().public_bytes_raw(), key.sign(text.encode()))
        for key in (LOG_KEY, NEXT_KEY)
    )
    cosignatures = "".join(cosign(text, *witness, COSIGNED_AT) for witness in WITNESSES)
    evidence = LogEvidence(
        name="shop",
        checkpoint=parse_checkpoint(text),
        vkey=VKEY,
        signed=both,
        cosignatures=cosignatures,
        keys=keys_document(),
        policy=policy(),
        witnesses=[(name, "2026-11-01T09:00:00.000000Z") for name, *_ in WITNESSES],
        tokens=[
            Token(
                authority.name,
                authority.stamp(both.encode(), NONCE),
                NONCE,
                authority.roots_pem.read_bytes(),
                datetime.now(UTC).isoformat(),
            )
        ],
        lacks=[],
    )
    proof = replace(told.bundle, checkpoint=both + cosignatures)
    public = {"kty": "OKP", "crv": "Ed25519", "x": base64url(RECEIPT_KEY.public_key().public_bytes_raw()), "kid": KID}
    return Dossier(
        made_at=MADE_AT,
        about={"kind": "event", "event": proof.event},
        controller={"name": "shop", "legal_name": "Boutique SARL", "contact": "dpo@shop.example"},
        records=[Proven(proof, "shop", signed(claims))],
        logs={ORIGIN: evidence},
        state=STATE,
        receipt_keys=canonical_json({"keys": [public]}),
    )


def made(told: Dossier) -> bytes:
    """The zip of a dossier, as query makes it."""
    facts = report_facts(told)
    return bundle_zip(told, facts, report_pdf(facts, notice_texts(record.proof for record in told.records)))


def notice_texts(proofs: Any) -> dict[str, str]:
    """The text of each notice by its hash."""
    return {
        read_json(proof.entry)[0]["notice"]: notice_text(read_json(proof.notice)[0])
        for proof in proofs
        if proof.notice is not None
    }


def golden() -> tuple[bytes, Pins]:
    """The committed bundle, and every anchor from elsewhere."""
    policy_text, roots, jwks, vkey = ((FOLDER / name).read_bytes() for name in PIN_FILES)
    return (FOLDER / "golden.zip").read_bytes(), Pins((vkey.decode().strip(),), policy_text, roots, jwks)


def listed(files: Mapping[str, bytes], like: bytes | None = None) -> dict[str, bytes]:
    """The files with a manifest that fits them, as a forger would make it; about what that of the zip `like` is."""
    said = read_manifest(read_archive(golden()[0] if like is None else like))
    others = {name: content for name, content in files.items() if name != MANIFEST}
    return {MANIFEST: write_manifest(said.made_at, said.about, others), **others}


def main() -> None:
    """Write the golden bundle, once."""
    if (FOLDER / "golden.zip").exists():
        raise SystemExit("the golden bundle is there: it is never written anew")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        authority = TimestampAuthority(Path(folder), "golden", end=datetime(2200, 1, 1, tzinfo=UTC))
        (FOLDER / "golden.zip").write_bytes(made(dossier(authority)))
        (FOLDER / "roots.pem").write_bytes(authority.roots_pem.read_bytes())
    (FOLDER / "policy.txt").write_bytes(policy())
    (FOLDER / "receipts.jwks").write_bytes(read_archive((FOLDER / "golden.zip").read_bytes())["receipts.jwks"])
    (FOLDER / "vkey.txt").write_text(f"{log_key(ORIGIN, NEXT_KEY)}\n")


if __name__ == "__main__":
    main()
