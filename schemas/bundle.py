"""The proof document: what a DPO hands to a regulator about one event, and its verification (docs/proof-format.md).

Two spellings of the same content: a JSON document, and a C2SP tlog-proof whose `extra` line holds the rest of it.
Invariant: whatever is hashed or signed travels as its exact bytes; nothing is rebuilt from parsed values.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import MalformedJson, Problem, ProofError
from schemas.merkle import leaf_hash, verify_inclusion
from schemas.note import VerifierKey, decode_base64, encode_base64, parse_verifier_key
from schemas.proof import TLOG_PROOF_HEADER, TlogProof, parse_tlog_proof
from schemas.record import PART_NAMES, SALT_BYTES, PartName, read_entry, verify_commitment
from schemas.steps import Run, Step
from schemas.strict_json import read_canonical, read_json, write_json

PROOF_FORMAT: Final = "sayso-proof/v1"
# Far above the largest event and notice there can be; a verifier need not read more of a stranger's file.
PROOF_BYTES_MAX: Final = 16 * 1024 * 1024

_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# What stands beside the tlog-proof's own lines, in its `extra`; the JSON document adds the three lines' content.
_EXTRA_MEMBERS: Final = frozenset({"format", "event", "log", "entry", "parts", "digests"})
_MEMBERS: Final = _EXTRA_MEMBERS | {"index", "path", "checkpoint"}
_OPTIONAL: Final = frozenset({"notice"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """One proof document.

    event: the id of the event, a UUID. origin, vkey: the log's name and verifier key, as the maker of the proof states
    them. index: place of the entry, from 0. entry: its exact bytes. path: inclusion path of 32-byte hashes, the leaf's
    sibling first. checkpoint: the signed note, verbatim. disclosed: part -> (salt of 32 bytes, exact JSON). digests:
    the 32-byte digests of all other parts. notice: the exact bytes whose SHA-256 the entry names, or None.
    """

    event: str
    origin: str
    vkey: str
    index: int
    entry: bytes
    path: tuple[bytes, ...]
    checkpoint: str
    disclosed: Mapping[PartName, tuple[bytes, bytes]]
    digests: Mapping[PartName, bytes]
    notice: bytes | None

    def json(self) -> bytes:
        """The JSON document, canonical."""
        path = [encode_base64(sibling) for sibling in self.path]
        return write_json({**self._extra(), "index": self.index, "path": path, "checkpoint": self.checkpoint})

    def tlog_proof(self) -> str:
        """The same as a `.tlog-proof` file."""
        return TlogProof(self.index, self.path, self.checkpoint, write_json(self._extra())).text()

    def _extra(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "format": PROOF_FORMAT,
            "event": self.event,
            "log": {"origin": self.origin, "vkey": self.vkey},
            "entry": self.entry.decode(),
            "parts": {
                name: {"salt": encode_base64(salt), "json": part.decode()}
                for name, (salt, part) in self.disclosed.items()
            },
            "digests": {name: digest.hex() for name, digest in self.digests.items()},
        }
        if self.notice is not None:
            members["notice"] = self.notice.decode()
        return members


# --- reading --------------------------------------------------------------------------------------------------


def parse_bundle(raw: bytes) -> Bundle:
    """Read a proof document in either spelling, strictly; verifies nothing. Raises ProofError."""
    if len(raw) > PROOF_BYTES_MAX:
        raise ProofError("the file is larger than a proof can be: check that it is the file you were given")
    if not raw.startswith(TLOG_PROOF_HEADER.encode()):
        members = _read_object(raw, _MEMBERS)
        index = _member(members, "index", int)
        path = tuple(_hash(sibling) for sibling in _member(members, "path", list))
        # The same limits hold for both spellings: indexes below 2^63, at most 63 hashes, plain text.
        proof = TlogProof(index, path, _member(members, "checkpoint", str))
        return _bundle(proof, members)
    proof = parse_tlog_proof(raw)
    if proof.extra is None:
        raise ProofError("this tlog-proof does not hold its entry: give the entry's bytes with --entry")
    return _bundle(proof, _read_object(proof.extra, _EXTRA_MEMBERS))


def _read_object(raw: bytes, expected: frozenset[str]) -> dict[str, Any]:
    """A JSON object with exactly these members; unlike in records, strings may hold newlines (the checkpoint does)."""
    try:
        value, _ = read_json(raw, controls=True)
    except MalformedJson:
        raise ProofError("not a proof: neither a tlog-proof nor valid JSON") from None
    except Problem as problem:
        raise ProofError(f"the proof is not strict JSON ({problem.slug})") from problem
    if not isinstance(value, dict) or value.get("format") != PROOF_FORMAT:
        raise ProofError(f"not a proof of the format {PROOF_FORMAT}: use a verifier of the version that made it")
    if not expected <= set(value) <= expected | _OPTIONAL:
        raise ProofError("the proof has unknown members or lacks some: ask for it again")
    return value


def _bundle(proof: TlogProof, members: dict[str, Any]) -> Bundle:
    log = _member(members, "log", dict)
    parts = _member(members, "parts", dict)
    digests = _member(members, "digests", dict)
    event = _member(members, "event", str)
    if _EVENT_ID.fullmatch(event) is None:
        raise ProofError("the event id in the proof is not a lower-case UUID")
    if sorted([*parts, *digests]) != sorted(PART_NAMES):
        raise ProofError("the proof must hold each of the three parts once, disclosed or as a digest")
    if set(log) != {"origin", "vkey"} or not str(log["origin"]).isprintable() or not str(log["vkey"]).isprintable():
        raise ProofError("the proof must name its log by origin and vkey, in printable characters")
    return Bundle(
        event=event,
        origin=_member(log, "origin", str),
        vkey=_member(log, "vkey", str),
        index=proof.index,
        entry=_member(members, "entry", str).encode(),
        path=proof.path,
        checkpoint=proof.checkpoint,
        disclosed={name: _disclosed(parts[name]) for name in PART_NAMES if name in parts},
        digests={name: _digest(digests[name]) for name in PART_NAMES if name in digests},
        notice=_member(members, "notice", str).encode() if "notice" in members else None,
    )


def _member(members: Mapping[str, Any], name: str, kind: type) -> Any:
    value = members[name]
    # `type`, not isinstance: True is an int to Python.
    if type(value) is not kind:
        raise ProofError(f"the member {name!r} of the proof has the wrong type")
    return value


def _hash(value: Any) -> bytes:
    decoded = decode_base64(value) if isinstance(value, str) else None
    if decoded is None:
        raise ProofError("a hash of the proof is not canonical base64")
    return decoded


def _digest(value: Any) -> bytes:
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise ProofError("a digest of the proof is not 64 lower-case hex digits")
    return bytes.fromhex(value)


def _disclosed(value: Any) -> tuple[bytes, bytes]:
    if type(value) is not dict or set(value) != {"salt", "json"}:
        raise ProofError("a disclosed part must have the members salt and json")
    salt = _hash(_member(value, "salt", str))
    if len(salt) != SALT_BYTES:
        raise ProofError(f"the salt of a disclosed part is not {SALT_BYTES} bytes")
    return salt, _member(value, "json", str).encode()


# --- verifying ------------------------------------------------------------------------------------------------


def verify_bundle(
    raw: bytes, *, vkey: str | None = None, origin: str | None = None, done: Callable[[Step], None] = lambda _: None
) -> Bundle:
    """Verify a proof document offline and return it; `done` is told each step as it ends, a failed one too.

    `vkey` is the log's key as the reader knows it from elsewhere; without it the key in the document is used, which a
    forger could have put there, and the step says so. Raises ProofError that opens with the number of the step.
    """
    run = Run(done)
    # 1. The file is a proof document of this version, read strictly.
    with run.step("document") as say:
        bundle = parse_bundle(raw)
        say(f"format {PROOF_FORMAT}, {len(raw)} bytes")
    # 2. The key is the one the reader trusts.
    with run.step("key") as say:
        name, key = _trusted_key(bundle, vkey, origin, say)
    verify_document(run, bundle, name, [key])
    return bundle


def verify_document(run: Run, bundle: Bundle, origin: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Steps 3 to 8, for a document that is read, under the keys that may sign for the log. Raises ProofError."""
    # 3. to 5. A checkpoint under one of those keys covers exactly these bytes at exactly this place.
    proof = TlogProof(bundle.index, bundle.path, bundle.checkpoint)
    checkpoint = _verify_entry(run, proof, bundle.entry, origin, keys)
    # 6. The parts and the digests of the parts kept back are what the entry commits to.
    with run.step("commitment") as say:
        verify_commitment(bundle.entry, bundle.disclosed, bundle.digests)
        what = _read_parts(bundle)
        say(f"disclosed: {', '.join(bundle.disclosed) or 'none'}; by digest: {', '.join(bundle.digests) or 'none'}")
    # 7. The event is the one the document says it is about.
    with run.step("event") as say:
        if what is None:
            say("the part 'what' is kept back, so nothing here ties the event id to the entry", remark=True)
        elif what.get("id") != bundle.event:
            raise ProofError("the part 'what' is that of another event")
        else:
            say("the part 'what' carries the event id")
    # 8. The notice is the one that the entry names, byte for byte.
    with run.step("notice") as say:
        _verify_notice(bundle, what, say)
    return checkpoint


def verify_bare_proof(
    raw: bytes, entry: bytes, *, vkey: str, origin: str | None = None, done: Callable[[Step], None] = lambda _: None
) -> Checkpoint:
    """Verify a tlog-proof together with an entry from elsewhere; its `extra`, if any, is left aside.

    Returns the checkpoint that covers the entry. Raises ProofError that opens with the number of the step.
    """
    run = Run(done)
    with run.step("document") as say:
        proof = parse_tlog_proof(raw)
        say(f"tlog-proof, {len(raw)} bytes")
        if proof.extra is not None:
            say("its extra data is not looked at", remark=True)
    with run.step("key") as say:
        name = parse_verifier_key(vkey).name if origin is None else origin
        say("given by the reader")
        key = parse_verifier_key(vkey)
    return _verify_entry(run, proof, entry, name, [key])


def _trusted_key(
    bundle: Bundle, vkey: str | None, origin: str | None, say: Callable[..., None]
) -> tuple[str, VerifierKey]:
    """Origin and key to verify under; what the document states must agree with what the reader gave."""
    key = parse_verifier_key(bundle.vkey if vkey is None else vkey)
    name = key.name if origin is None else origin
    if bundle.origin != name:
        raise ProofError("the proof is of another log than the one expected: compare the origins")
    if vkey is None:
        say(f"the key was taken from the proof itself: compare it with the published key of {name}: {key}", remark=True)
    elif bundle.vkey != vkey:
        raise ProofError("the proof states another key than the one given: compare both with the published key")
    else:
        say("given by the reader")
    return name, key


def _verify_entry(run: Run, proof: TlogProof, entry: bytes, origin: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    # 3. The log has signed the checkpoint.
    with run.step("checkpoint") as say:
        checkpoint = open_checkpoint(proof.checkpoint, origin, keys)
        say(f"signed by {origin}, size {checkpoint.size}")
    # 4. The entry is one of ours, and states the place that the proof is for.
    with run.step("entry") as say:
        members = read_entry(entry)
        if members["log"] != origin or type(members["index"]) is not int or members["index"] != proof.index:
            raise ProofError("the entry states another log or index than the proof")
        say(f"class {members['class']}, recorded at {members['recorded_at']}, index {proof.index}")
    # 5. The path leads from the entry's leaf hash to the signed root.
    with run.step("inclusion") as say:
        verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
        say(f"leaf {proof.index} of {checkpoint.size}, {len(proof.path)} hashes")
    return checkpoint


def _read_parts(bundle: Bundle) -> dict[str, Any] | None:
    """Insist that disclosed parts are canonical JSON, so that all readers see the same; return `what` or None."""
    what: dict[str, Any] | None = None
    for name, (_, part) in bundle.disclosed.items():
        value = read_canonical(part, f"the part {name!r}")
        if name == "what":
            what = value
    return what


def _shown_notice(what: dict[str, Any]) -> Any:
    notice = what.get("notice")
    return notice.get("sha256") if isinstance(notice, dict) else None


def _verify_notice(bundle: Bundle, what: dict[str, Any] | None, say: Callable[..., None]) -> None:
    named = read_entry(bundle.entry).get("notice")
    shown = named if what is None else _shown_notice(what)
    if named is not None and shown != named:
        raise ProofError("the part 'what' and the entry name different notices")
    if bundle.notice is not None:
        if hashlib.sha256(bundle.notice).hexdigest() != named:
            raise ProofError("the words of the notice are not those that the entry names")
        say("the words are those that the entry names")
    elif named is not None:
        say("the entry names a notice whose words are not in this file: compare its SHA-256 yourself", remark=True)
    elif shown is not None:
        say("the words shown were not known to the controller when this was recorded", remark=True)
    else:
        say("the record names no notice")
