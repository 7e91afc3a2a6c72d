"""Golden vectors of the record: an event, its three parts, their digests, the commitment and the entry.

The expected parts are written out here by hand and made canonical by the rfc8785 package; the hashes are hashlib's. No
line of this rests on schemas.record or schemas.canonical, which tests/unit/schemas/test_record.py holds against it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import rfc8785

Json = dict[str, Any]
_NAMES: Final = ("who", "what", "context")
_ENTRY: Final[Json] = {
    "v": 1,
    "log": "log.example/logs/shop",
    "index": 257,
    "prev": hashlib.sha256(b"the entry before").hexdigest(),
    "ref": "000102030405060708090a0b0c0d0e0f",
    "class": "consent",
    "recorded_at": "2026-11-22T10:01:00Z",
}
_ENVELOPE: Final[Json] = {
    "specversion": "1.0",
    "id": "01930f5e-7c1e-7b1a-9c55-0d7f1f0b9a11",
    "source": "/sites/shop.example",
    "type": "consent.given",
    "time": "2026-11-22T10:00:00Z",
}
_WHAT: Final[Json] = {
    "v": 1,
    "id": _ENVELOPE["id"],
    "site": "shop.example",
    "type": "consent.given",
    "time": "2026-11-22T10:00:00Z",
    "received_at": "2026-11-22T10:00:00.123456Z",
    "posted_by": "browser",
    "words": "rendered",
}
_GRANTED: Final[Json] = {
    "purpose": "chat-history",
    "purpose_version": "3",
    "decision": "granted",
    "legal_basis": "consent",
    "services": ["chatra", "chaport"],
}
_DENIED: Final[Json] = {"purpose": "chat-proactive", "decision": "denied", "legal_basis": "consent"}
_COOKIE: Final[Json] = {"type": "cookie", "value": "v-5f0c"}


def _words_in_every_script() -> tuple[Json, Json, Json, Json, Json]:
    """Members beyond ASCII in values, and integers at both ends: what canonical forms disagree on."""
    page = '/précis/日本語/😀?a="b"\\c'
    ext = {"z": 2**53 - 1, "a": -(2**53 - 1), "flag": True, "note": "\u2028€"}
    event = {
        **_ENVELOPE,
        "data": {
            "subject": {"identifiers": [{"type": "email", "value": "Ünï@exämple.org"}, _COOKIE]},
            "decisions": [_GRANTED],
            "context": {"page": page},
            "ext": ext,
        },
    }
    who = {"identifiers": [{"type": "email", "value": "Ünï@exämple.org"}, _COOKIE]}
    return (
        event,
        {"posted_by": "server"},
        who,
        _WHAT | {"posted_by": "server", "decisions": [_GRANTED]},
        {
            "page": page,
            "ext": ext,
        },
    )


def _everything() -> tuple[Json, Json, Json, Json, Json]:
    """Every member that a part is made of."""
    notice = {"sha256": "ab" * 32, "language": "fr", "notice_id": "chat", "notice_version": "3", "ui_sha256": "cd" * 32}
    in_what: Json = {
        "decisions": [_GRANTED, _DENIED],
        "capture": {"mechanism": "button", "element": "banner", "action": "save", "explicit": True},
        "served_event_id": "01930f5e-7c1e-7b1a-9c55-0d7f1f0b9a10",
        "valid_until": "2027-05-22T10:00:00Z",
        "jurisdiction": "FR",
        "regulation": "GDPR",
        "consent_model": "opt-in",
        "actor": {"entity": "guardian", "auth": "session"},
        "double_opt_in": {"requested_at": "2026-11-22T09:59:00Z", "confirmed_at": "2026-11-22T10:00:00Z"},
        "request": {"right": "access", "channel": "form"},
        "supersedes": "01930f5e-7c1e-7b1a-9c55-0d7f1f0b9a0f",
        "link": {"state": "linked"},
        "removal": {"deleted": ["cookie:Chatra"], "left": ["domain:chatra.io third-party"]},
        "told": {"channel": "email"},
    }
    guardian = {"identifier": {"type": "cookie", "value": "g-1"}, "authorised_at": "2026-11-22T09:58:00Z"}
    raw = {"tcf": "CPtcf", "gpp": "DBgpp", "gcm": {"ad_storage": "denied"}}
    context = {"page": "/cart", "country": "FR", "device": "mobile", "ip_truncated": "203.0.113.0/24"}
    event = {
        **_ENVELOPE,
        "datacontenttype": "application/json",
        "dataschema": "/schemas/event.v1.json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": {
            **in_what,
            "subject": {"identifiers": [_COOKIE]},
            "guardian": guardian,
            "age": {"over": False},
            "notice": {**notice, "token": "a-token"},
            "signals": {
                "tcf": "CPtcf",
                "gpp": "DBgpp",
                "gcm": {"ad_storage": "denied"},
                "gpc": True,
                "gpc_honoured": False,
            },
            "context": context,
            "ext": {"theme": "dark"},
        },
    }
    what = _WHAT | in_what | {"marks": ["clock-ahead", "token-invalid"], "notice": notice}
    what["signals"] = {"gpc": True, "gpc_honoured": False}
    what |= {"age": {"over": False, "minimum": 15}, "guardian_authorised_at": guardian["authorised_at"]}

    return (
        event,
        {"marks": ["clock-ahead", "token-invalid"], "minimum_age": 15},
        {"identifiers": [_COOKIE], "guardian": guardian},
        what,
        {
            **context,
            "notice_token": "a-token",
            "signals": raw,
            "ext": {"theme": "dark"},
        },
    )


def _nobody() -> tuple[Json, Json, Json, Json, Json]:
    """A refusal that identifies nobody: two of the parts are empty, and salted like any other."""
    event = {**_ENVELOPE, "type": "consent.refused", "data": {"decisions": [_DENIED]}}
    return (
        event,
        {"words": "unverified"},
        {},
        _WHAT
        | {
            "type": "consent.refused",
            "words": "unverified",
            "decisions": [_DENIED],
        },
        {},
    )


def _vector(event: Json, reception: Json, *parts: Json, notice: str | None) -> Json:
    salts = [hashlib.sha256(f"salt of {name}".encode()).digest() for name in _NAMES]
    texts = [rfc8785.dumps(part) for part in parts]
    digests = [
        hashlib.sha256(b"sayso/part/v1\n" + name.encode() + b"\n" + salt + text).digest()
        for name, salt, text in zip(_NAMES, salts, texts, strict=True)
    ]
    commitment = hashlib.sha256(b"sayso/commitment/v1\n" + b"".join(digests)).hexdigest()
    entry = rfc8785.dumps(_ENTRY | {"commitment": commitment} | ({} if notice is None else {"notice": notice}))
    content = rfc8785.dumps({name: value for name, value in event.items() if name not in {"traceparent", "tracestate"}})
    return {
        "event": event,
        "reception": {
            "site": "shop.example",
            "received_at": _WHAT["received_at"],
            "posted_by": "browser",
            "words": "rendered",
            "marks": [],
            **reception,
        },
        "content": hashlib.sha256(content).hexdigest(),
        "salts": _named(salt.hex() for salt in salts),
        "parts": _named(text.decode() for text in texts),
        "digests": _named(digest.hex() for digest in digests),
        "commitment": commitment,
        "entry": entry.decode(),
        "leaf_hash": hashlib.sha256(b"\x00" + entry).hexdigest(),
    }


def _named(values: Iterator[str]) -> Mapping[str, str]:
    return dict(zip(_NAMES, values, strict=True))


def parts() -> Iterator[tuple[str, Json]]:
    """Every vector by its name."""
    yield "everything", _vector(*_everything(), notice="ab" * 32)
    yield "nobody", _vector(*_nobody(), notice=None)
    yield "every-script", _vector(*_words_in_every_script(), notice=None)
