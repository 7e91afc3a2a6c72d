"""Writes the proof documents of this folder: `python -m schemas.vectors.bundle.generate`.

Everything follows from fixed seeds, hashlib and tests/support/oracle.py, so no vector rests on the code it tests. A
file that begins with happy-path must verify under the log's key; any other must be refused, by the step that its name
begins with (docs/proof-format.md). Names that end in but-logged are of a log that committed to something malformed.
"""

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from schemas.vectors.texts import COSIGNED_AT, LOG, LOG_SEED, STRANGER_SEED, WITNESS, WITNESS_SEED
from tests.support import oracle

HERE: Final = Path(__file__).parent
INDEX: Final = 2
SIZE: Final = 5
EVENT: Final = "01930f5e-7c1e-7b1a-9c55-0d7f1f0b9a11"
OTHER_EVENT: Final = "01930f5e-7c1e-7b1a-9c55-0d7f1f0b9a12"
VKEY: Final = oracle.vkey(LOG, 1, oracle.public_key(LOG_SEED))
PARTS: Final = ("who", "what", "context")

Json = dict[str, Any]


def canonical(value: Any) -> str:
    """RFC 8785 for values whose names are ASCII and whose numbers are small integers, as all here are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


NOTICE: Final = canonical(
    {
        "v": 1,
        "notice_id": "chat",
        "version": "3",
        "language": "fr",
        "title": "Discussion en direct",
        "text": "Acceptez-vous que nous gardions vos discussions ?",
        "controller": {"name": "Boutique SARL", "contact": "dpo@shop.example"},
        "purposes": [
            {
                "purpose": "chat-history",
                "title": "Historique",
                "description": "Retrouver la conversation à la prochaine visite.",
                "legal_basis": "consent",
                "services": ["chatra"],
                "valid_days": 180,
            }
        ],
        "withdrawal": "À tout moment, dans les réglages.",
    }
)
NOTICE_SHA256: Final = hashlib.sha256(NOTICE.encode()).hexdigest()
WHO: Final = {"identifiers": [{"type": "email", "value": "ève@example.com"}]}
WHAT: Final = {
    "v": 1,
    "id": EVENT,
    "site": "shop.example",
    "type": "consent.given",
    "time": "2026-11-22T10:00:00Z",
    "received_at": "2026-11-22T10:00:00.250000Z",
    "posted_by": "server",
    "words": "rendered",
    "decisions": [
        {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent", "services": ["chatra"]},
        {"purpose": "chat-proactive", "decision": "denied", "legal_basis": "consent", "services": ["chatra"]},
    ],
    "capture": {"mechanism": "button", "element": "banner", "action": "save"},
    "notice": {"sha256": NOTICE_SHA256, "language": "fr"},
}
CONTEXT: Final = {"country": "FR", "device": "mobile", "page": "https://shop.example/"}
SALTS: Final = {name: bytes(range(first, first + 32)) for name, first in zip(PARTS, (0x80, 0xA0, 0xC0), strict=True)}


def digest(name: str, salt: bytes, part: str) -> bytes:
    """A part's digest."""
    return hashlib.sha256(b"sayso/part/v1\n" + name.encode() + b"\n" + salt + part.encode()).digest()


def committed(parts: dict[str, str]) -> str:
    """The commitment over three parts, in hex."""
    digests = b"".join(digest(name, SALTS[name], parts[name]) for name in PARTS)
    return hashlib.sha256(b"sayso/commitment/v1\n" + digests).hexdigest()


class Log:
    """Five entries, the third of them about our event; `entry` and `parts` may be what no honest ledger writes."""

    def __init__(
        self, *, parts: dict[str, str] | None = None, size: int = SIZE, index: int = INDEX, **entry: Any
    ) -> None:
        self.parts = {"who": canonical(WHO), "what": canonical(WHAT), "context": canonical(CONTEXT)} | (parts or {})
        self.size, self.index = size, index
        members = {
            "v": 1,
            "log": LOG,
            "index": index,
            "prev": "11" * 32,
            "ref": "000102030405060708090a0b0c0d0e0f",
            "class": "consent",
            "recorded_at": "2026-11-22T10:00:00Z",
            "notice": NOTICE_SHA256,
            "commitment": committed(self.parts),
        } | entry
        self.entry = canonical({name: value for name, value in members.items() if value is not None})
        others = [f'{{"other":{n}}}'.encode() for n in range(size)]
        entries = [*others[:index], self.entry.encode(), *others[index + 1 :]]
        self.leaves = [oracle.leaf(entry) for entry in entries]

    def note(self, size: int | None = None, seed: bytes = LOG_SEED) -> str:
        """The signed checkpoint; another `size` with the right root is what a lying log would sign."""
        text = oracle.checkpoint_text(LOG, self.size if size is None else size, oracle.mth(self.leaves))
        return f"{text}\n{oracle.log_line(text, LOG, seed)}"

    def cosigned(self) -> str:
        """The checkpoint with a witness's cosignature."""
        text = oracle.checkpoint_text(LOG, self.size, oracle.mth(self.leaves))
        return self.note() + oracle.cosignature_line(text, WITNESS, WITNESS_SEED, COSIGNED_AT)

    def document(self, *disclosed: str, **changes: Any) -> Json:
        """The proof document, with these parts disclosed; None removes a member."""
        document = {
            "format": "sayso-proof/v1",
            "event": EVENT,
            "log": {"origin": LOG, "vkey": VKEY},
            "index": self.index,
            "entry": self.entry,
            "path": [oracle.b64(value) for value in oracle.path(self.index, self.leaves)],
            "checkpoint": self.note(),
            "parts": {name: {"salt": oracle.b64(SALTS[name]), "json": self.parts[name]} for name in disclosed},
            "digests": {n: digest(n, SALTS[n], self.parts[n]).hex() for n in PARTS if n not in disclosed},
            "notice": NOTICE,
        } | changes
        return {name: value for name, value in document.items() if value is not None}


def golden() -> Json:
    """Every intermediate value of the happy path, for whoever writes another implementation."""
    log = Log()
    return {
        "parts": log.parts,
        "salts": {name: salt.hex() for name, salt in SALTS.items()},
        "digests": {name: digest(name, SALTS[name], log.parts[name]).hex() for name in PARTS},
        "commitment": committed(log.parts),
        "entry": log.entry,
        "leaf_hash": log.leaves[INDEX].hex(),
        "root": oracle.mth(log.leaves).hex(),
        "notice_sha256": NOTICE_SHA256,
    }


def generate() -> dict[str, bytes]:
    """Every file, by its name."""
    files = {"golden.json": (json.dumps(golden(), indent=1, ensure_ascii=False) + "\n").encode()}
    for name, document in documents():
        files[f"{name}.json"] = document if isinstance(document, bytes) else canonical(document).encode()
    for name, text in tlog_proofs():
        files[f"{name}.tlog-proof"] = text.encode()
    return files


def documents() -> Iterator[tuple[str, Json | bytes]]:
    """JSON documents, whole and damaged."""
    log = Log()
    whole = log.document(*PARTS)
    yield "happy-path", whole
    yield "happy-path-what-only", log.document("what")
    yield "happy-path-no-part", log.document()
    yield "happy-path-words-left-out", log.document("what", notice=None)
    no_notice = canonical({name: value for name, value in WHAT.items() if name != "notice"})
    yield "happy-path-no-notice", Log(parts={"what": no_notice}, notice=None).document(*PARTS, notice=None)
    yield "happy-path-words-unknown-when-recorded", Log(notice=None).document(*PARTS, notice=None)
    yield "happy-path-one-entry", Log(size=1, index=0).document(*PARTS)
    yield "happy-path-last-of-257", Log(size=257, index=256).document(*PARTS)
    yield "happy-path-cosigned", log.document(*PARTS, checkpoint=log.cosigned())
    yield "happy-path-indented", json.dumps(whole, indent=2).encode()
    yield from ((f"1-{name}", document) for name, document in _not_a_document(whole))
    yield from ((f"1-{name}", document) for name, document in _malformed_members(whole))
    yield from ((f"2-{name}", document) for name, document in _wrong_key(log))
    yield from ((f"3-{name}", document) for name, document in _wrong_checkpoint(log))
    yield from ((f"4-{name}", document) for name, document in _wrong_entry(log))
    yield from ((f"5-{name}", document) for name, document in _not_included(log))
    yield from ((f"6-{name}", document) for name, document in _not_committed(log))
    yield from ((f"7-{name}", document) for name, document in _wrong_event())
    yield from ((f"8-{name}", document) for name, document in _wrong_notice(log))


def _not_a_document(whole: Json) -> Iterator[tuple[str, bytes | Json]]:
    raw = canonical(whole).encode()
    yield "empty", b""
    yield "truncated", raw[:-1]
    yield "two-documents", raw + raw
    yield "bytes-after-the-end", raw + b"\0"
    yield "byte-order-mark", b"\xef\xbb\xbf" + raw
    yield "not-utf-8", raw.replace("ève".encode(), b"\xffve")
    yield "array", b"[" + raw + b"]"
    yield "nested-17-levels", b"[" * 17 + b"]" * 17
    yield "nested-100000-levels", b"[" * 100_000 + b"]" * 100_000
    yield "nested-300-levels-inside", raw.replace(b'"index":2', b'"index":' + b"[" * 300 + b"]" * 300)
    yield "lone-surrogate", raw.replace(b'"consent', b'"\\ud800consent', 1)
    yield "member-twice", raw.replace(b'"index":2', b'"index":3,"index":2')
    yield "member-twice-escaped", raw.replace(b'"index":2', b'"\\u0069ndex":3,"index":2')
    yield "inner-member-twice", raw.replace(b'"salt":', b'"salt":"","salt":', 1)
    yield "index-nan", raw.replace(b'"index":2', b'"index":NaN')
    yield "index-with-leading-zero", raw.replace(b'"index":2', b'"index":02')


def _malformed_members(whole: Json) -> Iterator[tuple[str, Json]]:
    for name in whole:
        if name != "notice":
            yield f"{name}-missing", {n: value for n, value in whole.items() if n != name}
        yield f"{name}-null", whole | {name: None}
        yield f"{name}-of-another-type", whole | {name: {"a": 1} if isinstance(whole[name], str) else "a"}
    yield "unknown-member", whole | {"comment": "trust me"}
    yield "format-of-version-2", whole | {"format": "sayso-proof/v2"}
    for name, index in (("negative", -1), ("float", 2.0), ("boolean", True), ("2-to-63", 2**63), ("2-to-70", 2**70)):
        yield f"index-{name}", whole | {"index": index}
    yield "event-in-capitals", whole | {"event": EVENT.upper()}
    yield "event-without-hyphens", whole | {"event": EVENT.replace("-", "")}
    yield "event-with-newline", whole | {"event": EVENT + "\n"}
    first, *rest = whole["path"]
    for name, value in _base64_mutations(first):
        yield f"path-hash-{name}", whole | {"path": [value, *rest]}
    yield "path-of-64-hashes", whole | {"path": [first] * 64}
    yield "path-hash-a-number", whole | {"path": [7, *rest]}
    for name, value in _base64_mutations(oracle.b64(SALTS["what"])):
        yield f"salt-{name}", _changed(whole, "parts", "what", "salt", value)
    yield "salt-of-31-bytes", _changed(whole, "parts", "what", "salt", oracle.b64(SALTS["what"][1:]))
    yield "salt-empty", _changed(whole, "parts", "what", "salt", "")
    yield "part-with-unknown-member", _changed(whole, "parts", "what", "key", "")
    yield "part-without-salt", whole | {"parts": whole["parts"] | {"what": {"json": "{}"}}}
    yield "part-a-string", whole | {"parts": whole["parts"] | {"what": "{}"}}
    yield "part-missing", whole | {"parts": {n: p for n, p in whole["parts"].items() if n != "who"}}
    yield "part-with-another-name", whole | {"parts": whole["parts"] | {"extra": whole["parts"]["what"]}}
    yield "part-and-its-digest", whole | {"digests": {"who": digest("who", SALTS["who"], canonical(WHO)).hex()}}
    kept_back = Log().document("what")
    who = kept_back["digests"]["who"]
    damaged: list[tuple[str, str | None]] = [
        ("in-capitals", who.upper()),
        ("63-digits", who[:-1]),
        ("base64", oracle.b64(bytes(32))),
        ("with-newline", who + "\n"),
        ("null", None),
    ]
    for digest_name, changed in damaged:
        yield f"digest-{digest_name}", _changed(kept_back, "digests", "who", changed)
    yield "log-without-vkey", whole | {"log": {"origin": LOG}}
    yield "log-with-unknown-member", _changed(whole, "log", "url", "https://example.com")
    yield "origin-with-escape-character", _changed(whole, "log", "origin", LOG + "\x1b[2K")
    yield "checkpoint-with-tab", whole | {"checkpoint": whole["checkpoint"].replace("\n", "\t", 1)}


def _base64_mutations(good: str) -> Iterator[tuple[str, str]]:
    stray = good[:-2] + chr(ord(good[-2]) + 1) + "="
    yield "stray-bits", stray
    yield "unpadded", good.rstrip("=")
    yield "padded-twice", good + "="
    yield "newline", good + "\n"
    yield "url-alphabet", "-_" + good[2:]
    yield "hexadecimal", "00" * 32


def _changed(document: Json, *path_and_value: Any) -> Json:
    """A copy with one inner member set to another value."""
    *path, last, value = path_and_value
    changed = copy.deepcopy(document)
    inner = changed
    for step in path:
        inner = inner[step]
    inner[last] = value
    return changed


def _wrong_key(log: Log) -> Iterator[tuple[str, Json]]:
    whole = log.document(*PARTS)
    stranger = oracle.vkey(LOG, 1, oracle.public_key(STRANGER_SEED))
    # The forger's whole document is consistent in itself: only the key that the reader brought tells.
    forged = whole | {"checkpoint": log.note(seed=STRANGER_SEED)}
    yield "forged-log-with-a-key-of-its-own", _changed(forged, "log", "vkey", stranger)
    yield "vkey-of-another-key", _changed(whole, "log", "vkey", stranger)
    yield "vkey-with-wrong-id", _changed(whole, "log", "vkey", VKEY.replace("+f289d35b+", "+f289d35c+"))
    yield "vkey-malformed", _changed(whole, "log", "vkey", "example.com/consent-log")
    yield "vkey-with-trailing-space", _changed(whole, "log", "vkey", VKEY + " ")
    yield "origin-of-another-log", _changed(whole, "log", "origin", "example.com/other-log")
    yield "origin-with-trailing-slash", _changed(whole, "log", "origin", LOG + "/")


def _wrong_checkpoint(log: Log) -> Iterator[tuple[str, Json]]:
    whole = log.document(*PARTS)
    note = log.note()
    text, _, block = note.rpartition("\n\n")
    root = oracle.b64(oracle.mth(log.leaves))
    cosignature = log.cosigned().removeprefix(note)
    other_name = note.replace(LOG, "example.com/other-log")
    for name, changed in (
        ("empty", ""),
        ("size-changed", note.replace("\n5\n", "\n6\n")),
        ("root-changed", note.replace(root, oracle.b64(bytes(32)))),
        ("origin-changed", note.replace(LOG, "example.com/other-log", 1)),
        ("of-another-name", other_name),
        ("signature-bit-flip", note[:-3] + ("A" if note[-3] != "A" else "E") + note[-2:]),
        ("signature-missing", text + "\n\n"),
        ("signature-by-a-stranger", log.note(seed=STRANGER_SEED)),
        ("witness-alone", f"{text}\n\n{cosignature}"),
        ("extension-line-added", f"{text}\nmore\n\n{block}"),
        ("final-newline-missing", note[:-1]),
        ("text-after-the-end", note + "more\n"),
        ("cut-in-the-middle", note[: len(note) // 2]),
        ("leading-newline", "\n" + note),
    ):
        yield f"checkpoint-{name}", whole | {"checkpoint": changed}


def _wrong_entry(log: Log) -> Iterator[tuple[str, Json]]:
    whole = log.document(*PARTS)
    members = json.loads(log.entry)
    reordered = json.dumps(dict(reversed(members.items())), separators=(",", ":"))
    for name, entry in (
        ("empty", ""),
        ("with-trailing-newline", log.entry + "\n"),
        ("with-a-space", log.entry.replace(":", ": ", 1)),
        ("reordered", reordered),
        ("escaped", log.entry.replace("consent", "\\u0063onsent", 1)),
        ("member-twice", log.entry.replace('"v":1', '"v":2,"v":1')),
        ("an-array", f"[{log.entry}]"),
    ):
        yield f"entry-{name}", whole | {"entry": entry}
    for name, changes in (
        ("of-version-2", {"v": 2}),
        ("with-unknown-member", {"who": "eve"}),
        ("without-prev", {"prev": None}),
        ("without-commitment", {"commitment": None}),
        ("of-another-log", {"log": "example.com/other-log"}),
        ("of-another-index", {"index": 3}),
        ("with-index-as-text", {"index": "2"}),
        ("with-index-as-float", {"index": 2.0}),
    ):
        # A log that really holds such an entry proves nothing about our event either.
        bad_entry = {n: v for n, v in (json.loads(log.entry) | changes).items() if v is not None}
        yield f"entry-{name}-but-logged", _relogged(canonical(bad_entry))
    yield "index-of-a-neighbour", whole | {"index": 3}
    yield "index-0", whole | {"index": 0}


def _relogged(entry: str) -> Json:
    """A log that holds these bytes at our index, and its proof."""
    log = Log()
    log.entry = entry
    log.leaves[INDEX] = oracle.leaf(entry.encode())
    return log.document(*PARTS)


def _not_included(log: Log) -> Iterator[tuple[str, Json]]:
    whole = log.document(*PARTS)
    path = [oracle.path(INDEX, log.leaves)[n] for n in range(3)]
    root = oracle.mth(log.leaves)
    flipped = log.entry.replace("0001020304050607", "0001020304050606")
    yield "entry-one-digit-of-ref", whole | {"entry": flipped}
    yield "entry-one-digit-of-prev", whole | {"entry": log.entry.replace("11" * 32, "11" * 31 + "10")}
    yield "entry-another-minute", whole | {"entry": log.entry.replace("10:00:00Z", "10:01:00Z")}
    yield "entry-another-class", whole | {"entry": log.entry.replace('"consent"', '"notice"')}
    yield "entry-another-commitment", whole | {"entry": Log(parts={"context": "{}"}).entry}
    yield "entry-notice-removed", log.document(*PARTS, entry=Log(notice=None).entry, notice=None)
    for name, index in (("at-size", SIZE), ("past-size", SIZE + 1), ("plus-size", SIZE + INDEX), ("xor-1", INDEX ^ 1)):
        yield f"index-{name}", whole | {"index": index, "entry": log.entry.replace('"index":2', f'"index":{index}')}
    for name, changed in (
        ("empty", []),
        ("truncated", path[:-1]),
        ("truncated-in-front", path[1:]),
        ("padded-with-root", [*path, root]),
        ("padded-with-zeros", [*path, bytes(32)]),
        ("swapped", [path[1], path[0], path[2]]),
        ("reversed", path[::-1]),
        *((f"{n}-bit-flip", [*path[:n], _flip(path[n]), *path[n + 1 :]]) for n in range(3)),
    ):
        yield f"path-{name}", whole | {"path": [oracle.b64(value) for value in changed]}
    for size in (*range(13), 16, 2**20):
        if not oracle.inclusion_holds(log.leaves[INDEX], INDEX, size, path, root) and size:
            yield f"size-{size}-with-the-right-root-but-signed", whole | {"checkpoint": log.note(size)}
    yield "checkpoint-of-a-later-size", whole | {"checkpoint": Log(size=6).note()}
    yield "path-of-a-later-size", whole | {"path": Log(size=9).document()["path"]}


def _flip(value: bytes) -> bytes:
    return bytes([value[0] ^ 0x80]) + value[1:]


def _not_committed(log: Log) -> Iterator[tuple[str, Json]]:
    whole = log.document(*PARTS)
    for name in PARTS:
        yield f"salt-bit-flip-of-{name}", _changed(whole, "parts", name, "salt", oracle.b64(_flip(SALTS[name])))
        yield f"part-empty-{name}", _changed(whole, "parts", name, "json", "{}")
    denied = log.parts["what"].replace('"granted"', '"denied"')
    yield "decision-changed", _changed(whole, "parts", "what", "json", denied)
    yield "time-changed", _changed(whole, "parts", "what", "json", log.parts["what"].replace("10:00:00Z", "09:00:00Z"))
    yield "part-with-a-space", _changed(whole, "parts", "what", "json", log.parts["what"].replace(":", ": ", 1))
    parts = whole["parts"]
    yield "parts-swapped", whole | {"parts": parts | {"who": parts["context"], "context": parts["who"]}}
    kept_back = log.document("what")
    digests = kept_back["digests"]
    flipped = _flip(bytes.fromhex(digests["who"])).hex()
    yield "digest-bit-flip", _changed(kept_back, "digests", "who", flipped)
    swapped = {"who": digests["context"], "context": digests["who"]}
    yield "digests-swapped", kept_back | {"digests": swapped}
    what = log.parts["what"]
    for name, part in (
        ("not-canonical", what.replace(":", ": ", 1)),
        ("member-twice", what.replace('"v":1', '"v":2,"v":1')),
        ("not-json", what[:-1]),
        ("an-array", f"[{what}]"),
        ("with-control-character", what.replace("shop.example", "shop\\u0000example")),
        ("not-an-object", "7"),
    ):
        yield f"part-{name}-but-logged", Log(parts={"what": part}).document(*PARTS)


def _wrong_event() -> Iterator[tuple[str, Json]]:
    yield "event-of-another-id", Log().document(*PARTS, event=OTHER_EVENT)
    for name, value in (("of-another-event", OTHER_EVENT), ("missing", None), ("a-number", 7)):
        what = {n: v for n, v in (WHAT | {"id": value}).items() if v is not None}
        yield f"id-{name}-but-logged", Log(parts={"what": canonical(what)}).document(*PARTS)


def _wrong_notice(log: Log) -> Iterator[tuple[str, Json]]:
    whole = log.document(*PARTS)
    yield "notice-one-word", whole | {"notice": NOTICE.replace("gardions", "vendions")}
    yield "notice-with-trailing-newline", whole | {"notice": NOTICE + "\n"}
    yield "notice-empty", whole | {"notice": ""}
    yield "notice-indented", whole | {"notice": json.dumps(json.loads(NOTICE), indent=1, ensure_ascii=False)}
    yield "notice-that-the-entry-does-not-name", Log(notice=None).document(*PARTS)
    yield "entry-names-another-notice-but-logged", Log(notice="ab" * 32).document(*PARTS, notice=None)
    for name, shown in (("missing", None), ("a-list", [NOTICE_SHA256]), ("a-number", 7), ("without-hash", {})):
        what = {n: v for n, v in (WHAT | {"notice": shown}).items() if v is not None}
        yield f"notice-in-what-{name}-but-logged", Log(parts={"what": canonical(what)}).document(*PARTS)


def tlog_proofs() -> Iterator[tuple[str, str]]:
    """The same as tlog-proof files; what any tlog-proof can suffer is in ../tlog-proof."""
    log = Log()
    yield "happy-path", _tlog_proof(log, log.document(*PARTS))
    yield "happy-path-what-only", _tlog_proof(log, log.document("what"))
    whole = log.document(*PARTS)
    yield "1-extra-missing", _tlog_proof(log, None)
    yield "1-extra-not-json", _tlog_proof(log, "hello")
    yield "1-extra-of-version-2", _tlog_proof(log, whole | {"format": "sayso-proof/v2"})
    yield "1-extra-with-index", _tlog_proof(log, whole, drop=("path", "checkpoint"))
    yield "1-extra-without-entry", _tlog_proof(log, whole, drop=("index", "path", "checkpoint", "entry"))
    yield "4-index-of-a-neighbour", _tlog_proof(log, whole).replace("\nindex 2\n", "\nindex 3\n")
    yield "5-path-truncated", _tlog_proof(log, whole).replace(whole["path"][0] + "\n", "")
    yield (
        "6-decision-changed",
        _tlog_proof(log, _changed(whole, "parts", "what", "json", log.parts["what"].replace('"granted"', '"denied"'))),
    )


def _tlog_proof(log: Log, extra: Json | str | None, drop: tuple[str, ...] = ("index", "path", "checkpoint")) -> str:
    lines = ["c2sp.org/tlog-proof@v1"]
    if isinstance(extra, dict):
        extra = canonical({name: value for name, value in extra.items() if name not in drop})
    if extra is not None:
        lines.append(f"extra {oracle.b64(extra.encode())}")
    lines += [f"index {log.index}", *(oracle.b64(value) for value in oracle.path(log.index, log.leaves))]
    return "\n".join(lines) + "\n\n" + log.note()


def main() -> None:
    """Rewrite every file and remove those that are generated no more."""
    files = generate()
    for pattern in ("*.json", "*.tlog-proof"):
        for old in HERE.glob(pattern):
            if old.name not in files:
                old.unlink()
    for name, content in files.items():
        (HERE / name).write_bytes(content)


if __name__ == "__main__":
    main()
