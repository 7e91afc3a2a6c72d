"""Receipts as other JOSE libraries see them: go-jose and PyJWT take them under the published key, and no forgery."""

import hmac
import json
import subprocess
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.receipts_27560 import receipt_27560
from schemas.receipts_kantara import receipt_kantara
from tests.interop.third_party import CHECK_TIMEOUT_S
from tests.support.go_programs import JOSECHECK, build_go
from tests.support.receipts import KEYS, KID, base64url, signed, stated

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

JWK: dict[str, Any] = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": KID,
    "x": base64url(KEYS[KID]),
    "alg": "EdDSA",
    "use": "sig",
}


def open_with_go_jose(receipt: str, folder: Path) -> bytes | None:
    """The payload that go-jose found signed, None where it refuses."""
    (folder / "keys.json").write_text(json.dumps({"keys": [JWK]}))
    (folder / "receipt.jws").write_text(receipt)
    done = subprocess.run(
        [build_go(JOSECHECK), folder / "keys.json", folder / "receipt.jws"],
        capture_output=True,
        timeout=CHECK_TIMEOUT_S,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def open_with_pyjwt(receipt: str) -> dict[str, Any] | None:
    try:
        payload: dict[str, Any] = jwt.decode(receipt, jwt.PyJWK(JWK), algorithms=["EdDSA"])
    except jwt.InvalidTokenError:
        return None
    return payload


@pytest.mark.parametrize("form", [receipt_27560, receipt_kantara])
def test_other_libraries_take_a_receipt(form: Any, tmp_path: Path) -> None:
    claims = form(stated()).model_dump(by_alias=True, exclude_none=True)
    receipt = signed(claims)
    payload = open_with_go_jose(receipt, tmp_path)
    assert payload is not None
    assert json.loads(payload) == open_with_pyjwt(receipt) == claims


@pytest.mark.parametrize("forgery", ["decision", "none", "stranger", "hmac"])
def test_other_libraries_refuse_a_forgery(forgery: str, tmp_path: Path) -> None:
    claims = receipt_27560(stated()).model_dump(by_alias=True, exclude_none=True)
    honest = signed(claims)
    header, _, signature = honest.split(".")
    turned = signed(json.loads(json.dumps(claims).replace("dpv:ConsentRefused", "dpv:ConsentGiven")))
    mac = {"alg": "HS256", "kid": KID, "typ": "JWT"}
    text = signed(claims, mac).rpartition(".")[0]
    forged = {
        "decision": f"{header}.{turned.split('.')[1]}.{signature}",
        "none": f"{signed(claims, mac | {'alg': 'none'}).rpartition('.')[0]}.",
        "stranger": signed(claims, key=Ed25519PrivateKey.generate()),
        "hmac": f"{text}.{base64url(hmac.digest(KEYS[KID], text.encode(), 'sha256'))}",
    }[forgery]
    assert open_with_go_jose(forged, tmp_path) is None
    assert open_with_pyjwt(forged) is None
