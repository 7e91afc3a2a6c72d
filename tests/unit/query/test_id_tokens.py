"""What an ID token must say before it names anybody: each claim wrong by itself; and what it may be signed with."""

import base64
import hmac
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from schemas.errors import ConfigurationError
from schemas.rights_errors import SignInFailed
from services.query.sign_in import provider
from services.query.sign_in.provider import (
    Provider,
    challenge_of,
    read_client_secret,
    read_identity,
    subject_sha256,
)
from services.query.sign_in.sessions import csrf_of

NOW = 1_795_000_000.0
ISSUER = "https://login.example"
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "sayso",
    "sub": "248289761001",
    "nonce": "n",
    "exp": NOW + 300,
    "iat": NOW,
}


def read(claims: dict[str, Any]) -> bytes:
    return read_identity(claims, issuer=ISSUER, client="sayso", nonce="n", now=NOW).subject_sha256


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["sayso"]},
        {"aud": ["sayso", "other"], "azp": "sayso"},
        {"azp": "sayso"},
        {"exp": NOW - 59},
        {"iat": NOW + 59},
        {"iat": NOW - 599},
        {"email": "ada@example.com"},
    ],
)
def test_a_good_token_names_somebody(changes: dict[str, Any]) -> None:
    assert read(GOOD | changes) == subject_sha256(ISSUER, "248289761001")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://login.example/"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"aud": {"sayso": 1}},
        {"aud": "sayso-too"},
        {"aud": ["sayso", "other"]},
        {"aud": ["sayso", "other"], "azp": "other"},
        {"azp": "other"},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": 1},
        {"sub": None},
        {"nonce": "m"},
        {"nonce": None},
        {"nonce": "é"},
        {"exp": NOW - 60},
        {"exp": "tomorrow"},
        {"exp": None},
        {"iat": NOW + 61},
        {"iat": NOW - 601},
        {"iat": None},
    ],
)
def test_a_token_with_one_wrong_claim_names_nobody(changes: dict[str, Any]) -> None:
    with pytest.raises(SignInFailed):
        read(GOOD | changes)


def test_the_same_name_at_two_providers_is_two_people() -> None:
    names = {subject_sha256(issuer, sub) for issuer, sub in (("a", "b"), ("a\nb", ""), ("a", "c"), ("c", "b"))}
    assert len(names) == 4


def verified(token: str, *keys: Any) -> dict[str, Any] | None:
    return provider._verified(token, KeySet(list(keys)))


def test_only_the_providers_own_signature_counts() -> None:
    rsa, other = RSAKey.generate_key(2048, {"kid": "a"}), RSAKey.generate_key(2048, {"kid": "a"})
    ec = ECKey.generate_key("P-256", {"kid": "b"})
    claims = {"sub": "x"}
    assert verified(jwt.encode({"alg": "RS256", "kid": "a"}, claims, rsa), rsa, ec) == claims
    assert verified(jwt.encode({"alg": "ES256", "kid": "b"}, claims, ec), rsa, ec) == claims
    assert verified(jwt.encode({"alg": "RS256", "kid": "a"}, claims, other), rsa, ec) is None
    assert verified(jwt.encode({"alg": "RS256", "kid": "c"}, claims, rsa), rsa, ec) is None
    # Not signed at all; keyed with the public key, as if that were a secret; cut; not a token.
    head, body = (base64.urlsafe_b64encode(orjson.dumps(v)).rstrip(b"=") for v in ({"alg": "none", "kid": "a"}, claims))
    assert verified(f"{head.decode()}.{body.decode()}.", rsa) is None
    signed = base64.urlsafe_b64encode(orjson.dumps({"alg": "HS256", "kid": "a"})).rstrip(b"=") + b"." + body
    mac = base64.urlsafe_b64encode(hmac.digest(rsa.as_pem(private=False), signed, "sha256")).rstrip(b"=")
    assert verified(f"{signed.decode()}.{mac.decode()}", rsa) is None
    token = jwt.encode({"alg": "RS256", "kid": "a"}, claims, rsa)
    for broken in (token[:-2], token + "AA", token.replace(".", ""), "", "a.b.c", "é"):
        assert verified(broken, rsa) is None


def test_the_challenge_of_the_standards_own_example() -> None:
    """RFC 7636, appendix B."""
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    "issuer",
    ["http://login.example", "ftp://login.example", "login.example", "https://", "https://a@login.example", ""],
)
def test_a_provider_is_reached_over_tls(issuer: str) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        Provider(issuer, "sayso", "secret", "https://answers.example")


@pytest.mark.parametrize(("content", "mode"), [("", 0o600), ("\n", 0o600), ("a\tb", 0o600), ("a", 0o640), ("é", 0o600)])
def test_a_client_secret_is_a_line_that_nobody_else_reads(tmp_path: Path, content: str, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="client secret"):
        read_client_secret(path)
    with pytest.raises(ConfigurationError, match="client secret"):
        read_client_secret(tmp_path / "none")
    path.write_text(" s3cret \n")
    path.chmod(0o600)
    assert read_client_secret(path) == "s3cret"


def test_each_session_has_a_token_of_its_own() -> None:
    assert csrf_of("a") == csrf_of("a") != csrf_of("b")
