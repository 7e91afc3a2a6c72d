"""Timestamps, receipts and certificates of erasure: what others sign, judged by the page as by schemas."""

import base64
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import Page

from schemas.archive import MANIFEST, write_archive
from schemas.bundle_check import record_facts
from schemas.canonical import canonical_json
from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.errors import ProofError
from schemas.manifest import write_manifest
from schemas.timestamp import read_roots, verify_timestamp
from tests.browser.both import compare
from tests.browser.chromium import Given
from tests.contract.test_timestamp_verifiers import GOOD, NONCE, NOTE, ROOT, TABLE, by, leaf
from tests.support import oracle, tsa_tokens
from tests.support.bundles import MADE_AT, keys_document
from tests.support.receipts import KEYS, KID, LOG_KEY, ORIGIN, VKEY, base64url, signed, stated
from tests.support.tsa import TimestampAuthority
from tests.support.tsa_tokens import integer, issue, write_token
from tests.unit.schemas.test_receipts import KANTARA_LIES, LIES, SPOILT, header, iso, kantara
from tests.unit.schemas.test_timestamp import HOSTILE, TOKEN
from tests.unit.schemas.test_timestamp import ROOT as OTHER_TABLES_ROOT

pytestmark = pytest.mark.browser

JWKS = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": base64url(KEYS[KID]), "kid": KID}]})


# --- timestamps -------------------------------------------------------------------------------------------------------


def python_verifies(response: bytes, roots: bytes, nonce: bytes) -> bool:
    try:
        verify_timestamp(response, NOTE, read_roots(roots), nonce=nonce)
    except ProofError:
        return False
    return True


def page_verifies(page: Page, cases: list[tuple[bytes, bytes, bytes]]) -> list[bool | str]:
    said: list[bool | str] = page.evaluate(
        """async ([note, cases]) => {
          const answers = [];
          for (const [response, roots, nonce] of cases.map((one) => one.map(decodeBase64))) {
            try {
              await verifyTimestamp(response, decodeBase64(note), nonce, readPem(roots, "the roots"));
              answers.push(true);
            } catch (error) { answers.push(error instanceof Refused ? false : String(error)); }
          }
          return answers;
        }""",
        [base64.b64encode(NOTE).decode(), [[base64.b64encode(part).decode() for part in case] for case in cases]],
    )
    return said


def test_every_token_is_judged_alike(shared_page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table that also holds ours against rfc3161-client and openssl, other keys, and random damage."""
    roots = ROOT.root_pem
    tokens = {name: write_token(recipe()) for name, (recipe, _) in TABLE.items()}
    for curve in (ec.SECP384R1(), ec.SECP521R1()):
        tokens[f"signed on {curve.name}"] = write_token(
            by(leaf(key=ec.generate_private_key(curve)), hash_name="sha512")
        )
    above = issue("issuer", ROOT, key=rsa.generate_private_key(65537, 2048), ca=True)
    tokens["under an issuer with RSA"] = write_token(by(issue("signer", above)))
    # Signed over another hash than the signer states beside it.
    sign = tsa_tokens._sign
    monkeypatch.setattr(tsa_tokens, "_sign", lambda recipe, *rest: sign(recipe.but(hash_name="sha256"), *rest))
    tokens["two hashes"] = write_token(GOOD.but(hash_name="sha512"))
    expected = {name: python_verifies(token, roots, NONCE) for name, token in tokens.items()}
    said = dict(
        zip(tokens, page_verifies(shared_page, [(token, roots, NONCE) for token in tokens.values()]), strict=True)
    )
    assert {name: one for name, one in said.items() if one is not expected[name]} == {}
    assert (expected["signed on secp521r1"], expected["under an issuer with RSA"]) == (True, True)
    assert sum(expected.values()) > 12
    assert not expected["two hashes"]


def test_what_is_complained_of_is_refused(shared_page: Page) -> None:
    responses = {name: make() for name, (make, _) in HOSTILE.items()}
    said = page_verifies(shared_page, [(one, OTHER_TABLES_ROOT.root_pem, NONCE) for one in responses.values()])
    assert dict(zip(responses, said, strict=True)) == dict.fromkeys(responses, False)
    assert page_verifies(shared_page, [(TOKEN, OTHER_TABLES_ROOT.root_pem, NONCE)]) == [True]


MALFORMED = ["", "0202 01", "0280 01 0000", "028101 01", "02820001 01", "0285 0000000001 01", "1f01 00", "0200"]
MALFORMED += ["0202 0001", "0202 ff80", "0201 01 00"]


def test_der_has_one_spelling(shared_page: Page) -> None:
    said = shared_page.evaluate(
        """(all) => all.map((text) => {
          const reader = new DerReader(fromHex(text), "a number");
          try { const number = reader.integer(); reader.end(); return String(number); }
          catch (error) { return error instanceof Refused ? null : String(error); }
        })""",
        [text.replace(" ", "") for text in MALFORMED] + [integer(n).hex() for n in NUMBERS],
    )
    assert said == [None] * len(MALFORMED) + [str(number) for number in NUMBERS]


NUMBERS = [0, 1, -1, 127, 128, -128, 255, 256, 1 << 63, -(1 << 63), 1 << 1100]


def test_damaged_tokens_are_refused(shared_page: Page) -> None:
    token, dice = write_token(GOOD), random.Random(3161)
    damaged = []
    for at in range(0, len(token) * 8, 5):
        raw = bytearray(token)
        raw[at // 8] ^= 1 << at % 8
        damaged.append(bytes(raw))
    for _ in range(200):
        raw, start = bytearray(token), dice.randrange(len(token))
        raw[start : start + dice.choice((0, 1, 2, 20))] = dice.randbytes(dice.choice((0, 1, 2, 20)))
        damaged.append(bytes(raw))
    said = page_verifies(shared_page, [(raw, ROOT.root_pem, NONCE) for raw in damaged])
    assert said == [python_verifies(raw, ROOT.root_pem, NONCE) for raw in damaged]
    assert said[0 : len(token) * 8 // 5] == [False] * (len(token) * 8 // 5)


def test_tokens_of_openssl_verify_under_their_root_and_nonce_alone(
    shared_page: Page, timestamp_authority: TimestampAuthority
) -> None:
    token, own = timestamp_authority.stamp(NOTE, NONCE), timestamp_authority.roots_pem.read_bytes()
    cases = [
        (token, own, NONCE),
        (token, ROOT.root_pem + own, NONCE),
        (token, own, bytes(8)),
        (token, ROOT.root_pem, NONCE),
    ]
    assert page_verifies(shared_page, cases) == [True, True, False, False]
    signer = timestamp_authority.signer.certificate.public_bytes(Encoding.PEM)
    assert page_verifies(shared_page, [(token, signer, NONCE), (token, b"none", NONCE)]) == [False, False]


def test_a_crowd_of_issuers_ends_the_search(shared_page: Page) -> None:
    crowd = [issue("issuer", ca=True)]
    crowd += [issue("issuer", crowd[0], key=crowd[0].key, ca=True) for _ in range(30)]
    signer = issue("signer", crowd[0])
    token = write_token(GOOD.but(signer=signer, certificates=[one.certificate for one in (signer, *crowd)]))
    assert page_verifies(shared_page, [(token, ROOT.root_pem, NONCE)]) == [False]


# --- receipts ---------------------------------------------------------------------------------------------------------


def test_receipts_are_judged_alike(shared_page: Page) -> None:
    texts = {"iso": signed(iso()), "kantara": signed(kantara())}
    texts |= {name: signed(lie(iso())) for name, lie in LIES.items()}
    texts |= {f"kantara: {name}": signed(lie(kantara())) for name, lie in KANTARA_LIES.items()}
    texts |= {f"spoilt: {name}": spoil(texts["iso"]) for name, spoil in SPOILT.items()}
    for members in (
        header(alg="none"),
        header(alg=None),
        header(typ="JWT"),
        header(kid="0" * 16),
        header(kid=[KID]),
        header(crit=["exp"]),
    ):
        texts[f"header {members}"] = signed(iso(), members)
    for at in range(3, len(texts["iso"]), 97):
        texts[f"character {at}"] = (
            f"{texts['iso'][:at]}{'A' if texts['iso'][at] != 'A' else 'B'}{texts['iso'][at + 1 :]}"
        )
    cases = {name: (text.encode(), Given(VKEY, jwks=JWKS, origin=ORIGIN)) for name, text in texts.items()}
    cases["without a key"] = (texts["iso"].encode(), Given(jwks=JWKS))
    cases["without receipt keys"] = (texts["iso"].encode(), Given(VKEY))
    said = compare(shared_page, cases)
    held = {name for name, judged in said.items() if judged.steps and judged.steps[-1][2] != "failed"}
    assert held == {"iso", "kantara", "without a key"}


# --- certificates of erasure ------------------------------------------------------------------------------------------


def erasure(record: dict[str, Any] | None = None, typ: str = "sayso-erasure+jwt", **changes: Any) -> bytes:
    """A bundle about an erasure; `record` changes members of the entry, `changes` claims of its certificate."""
    counts = {"who": 2, "what": 2, "context": 1}
    base = stated().bundle
    members = {**json.loads(base.entry), "class": "erasure", "erased": counts, **(record or {})}
    entry = canonical_json({name: value for name, value in members.items() if value is not None})
    leaves = [oracle.leaf(entry if n == 2 else b"%d" % n) for n in range(5)]
    checkpoint = Checkpoint(ORIGIN, 5, oracle.mth(leaves))
    signed_note = signed_checkpoint(checkpoint, LOG_KEY)
    proof = replace(base, entry=entry, path=tuple(oracle.path(2, leaves)), checkpoint=signed_note, notice=None)
    log = {"log": "shop", "origin": ORIGIN, **counts, "declared": {"log": "shop", "origin": ORIGIN, "index": 2}}
    claims = {"format": "sayso-erasure/v1", "logs": [log], **changes}
    about = {"kind": "erasure", "subject": None}
    report: dict[str, Any] = {"format": "sayso-report/v1", "made_at": MADE_AT, "about": about, "erasure": claims}
    report["records"] = [record_facts(proof, "shop", checkpoint)]
    files = {
        "README.txt": b"",
        "report.pdf": b"",
        "receipts.jwks": JWKS.encode(),
        "report.json": canonical_json(report),
    }
    files["certificate.jws"] = signed(claims, {"alg": "EdDSA", "kid": KID, "typ": typ}).encode()
    files["logs/shop/keys.json"] = keys_document(rotated=False)
    files |= dict.fromkeys(("logs/shop/checkpoints/5.note", "logs/shop/checkpoints/5.signed"), signed_note.encode())
    files[f"events/{proof.event}/proof.json"] = proof.json()
    files[f"events/{proof.event}/proof.tlog-proof"] = proof.tlog_proof().encode()
    return write_archive({MANIFEST: write_manifest(MADE_AT, about, files), **files})


def test_certificates_of_erasure_are_judged_alike(shared_page: Page) -> None:
    log = {"who": 2, "what": 2, "context": 1, "declared": {"origin": ORIGIN, "index": 2}}
    bundles = {
        "whole": erasure(),
        "another type": erasure(typ="sayso-receipt+jwt"),
        "another class": erasure({"class": "request"}),
        "nothing erased": erasure({"erased": None}),
        "a wrong count": erasure(logs=[{**log, "who": 3}]),
        "a count of another kind": erasure(logs=[{**log, "who": "2"}]),
        "no count": erasure(logs=[{"declared": log["declared"]}]),
        "counts over two logs": erasure(logs=[{**log, "who": 0}, {**log, "what": 0, "context": 0}]),
        "another place": erasure(logs=[{**log, "declared": {"origin": ORIGIN, "index": 3}}]),
        "no place": erasure(logs=[{**log, "declared": None}]),
        "no logs": erasure(logs=[]),
        "logs of another kind": erasure(logs=1),
    }
    said = compare(shared_page, {name: (raw, Given(VKEY, jwks=JWKS)) for name, raw in bundles.items()})
    held = {name for name, judged in said.items() if judged.steps[-1][2] != "failed"}
    assert held == {"whole", "counts over two logs"}
