"""A signed answer: whether a consent stood, as a JWS to be kept and checked offline (docs/proof-format.md, 17).

It says what the service answered and which checkpoints cover all that the answer rests on, so that nobody can later
show a log with another past. Invariant: nothing inside is looked at before the signature verified under a key that the
reader brought.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import ProofError
from schemas.merkle import leaf_hash, verify_inclusion
from schemas.note import decode_base64, parse_verifier_key
from schemas.receipts_verify import RECEIPT_ALGORITHM, open_jws
from schemas.record import read_entry
from schemas.steps import Run, Step
from schemas.strict_json import read_canonical

ANSWER_FORMAT: Final = "sayso-answer/v1"
ANSWER_TYPE: Final = "sayso-answer+jwt"

_MEMBERS: Final = frozenset({"format", "issued_at", "controller", "answer", "logs"})
_OPTIONAL: Final = frozenset({"rests_on"})
_LOG_MEMBERS: Final = frozenset({"origin", "vkey", "size", "root", "checkpoint"})
_PLACE_MEMBERS: Final = frozenset({"origin", "index", "entry", "path"})
_HASH_BYTES: Final = 32


def verify_answer(
    jws: str,
    keys: Mapping[str, bytes],
    *,
    vkey: str | None = None,
    origin: str | None = None,
    done: Callable[[Step], None] = lambda _: None,
) -> dict[str, Any]:
    """Verify a signed answer offline and return its claims; `done` is told each step as it ends, a failed one too.

    keys: kid -> raw Ed25519 public key, of a source other than the answer. vkey, origin: the one log that the reader
    knows, which must be among those named. Raises ProofError.
    """
    run = Run(done)
    # 1. The signature is that of a key which the reader trusts, with the one algorithm there is.
    with run.step("signature") as say:
        payload, kid = open_jws(jws, keys, ANSWER_TYPE)
        say(f"{RECEIPT_ALGORITHM}, key {kid}")
    # 2. The claims are an answer of this version, in canonical JSON, and do not contradict themselves.
    with run.step("answer") as say:
        claims = _claims(payload)
        say(_said(claims["answer"]))
    # 3. Each log has signed the checkpoint that is named, of that size and root.
    with run.step("checkpoints") as say:
        checkpoints = _checkpoints(claims["logs"], vkey, origin, say)
        say(", ".join(f"{one.origin} at size {one.size}" for one in checkpoints.values()))
    # 4. The record that the answer rests on stands in one of them.
    with run.step("record") as say:
        _verify_record(claims, checkpoints, say)
    return claims


def _claims(payload: bytes) -> dict[str, Any]:
    # Strings may hold newlines, as a checkpoint does.
    claims = read_canonical(payload, "the payload of the answer", controls=True)
    if claims.get("format") != ANSWER_FORMAT:
        raise ProofError(f"not an answer of the format {ANSWER_FORMAT}: use a verifier of the version that made it")
    if not _MEMBERS <= set(claims) <= _MEMBERS | _OPTIONAL:
        raise ProofError("the answer has unknown members or lacks some: ask for it again")
    said, logs = claims["answer"], claims["logs"]
    if not isinstance(said, dict) or not isinstance(logs, list) or not all(isinstance(log, dict) for log in logs):
        raise ProofError("the answer's members are not of the kinds that they must be")
    if not {"subject", "purpose", "at", "known_at", "valid", "reasons", "decision"} <= set(said):
        raise ProofError("the answer does not say about whom, what and when it is")
    if type(said["valid"]) is not bool or said["valid"] != (said["reasons"] == []):
        raise ProofError("the answer contradicts itself: a consent stands if nothing is said against it")
    if said["valid"] and said["decision"] != "granted":
        raise ProofError("the answer contradicts itself: only what was granted stands")
    if (said["decision"] is None) != ("rests_on" not in claims):
        raise ProofError("the answer must name the record that it rests on, and only where there is one")
    return claims


def _said(said: Mapping[str, Any]) -> str:
    stands = "a valid consent" if said["valid"] else "no valid consent"
    return f"{stands} for {said['purpose']} at {said['at']}, as known at {said['known_at']}"


def _checkpoints(
    logs: Sequence[Mapping[str, Any]], vkey: str | None, origin: str | None, say: Callable[..., None]
) -> dict[str, Checkpoint]:
    """By origin, the checkpoints that the logs signed. Raises ProofError."""
    found: dict[str, Checkpoint] = {}
    for log in logs:
        if set(log) != _LOG_MEMBERS:
            raise ProofError("the answer names a log without its key, its checkpoint, or what that says")
        key = parse_verifier_key(str(log["vkey"]))
        checkpoint = open_checkpoint(str(log["checkpoint"]), str(log["origin"]), [key])
        if (checkpoint.size, checkpoint.root) != (log["size"], decode_base64(str(log["root"]))):
            raise ProofError("the answer states another size or root than the checkpoint that it carries")
        if checkpoint.origin in found:
            raise ProofError("the answer names a log twice")
        found[checkpoint.origin] = checkpoint
    if not found:
        raise ProofError("the answer is tied to no checkpoint")
    named = {(log["origin"], log["vkey"]) for log in logs}
    if vkey is None:
        say("the logs' keys were taken from the answer itself: compare them with the published ones", remark=True)
    elif (origin or parse_verifier_key(vkey).name, vkey) not in named:
        raise ProofError("the answer is not tied to the log whose key was given")
    if origin is not None and origin not in found:
        raise ProofError("the answer is not tied to the log that was expected: compare the origins")
    return found


def _verify_record(claims: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint], say: Callable[..., None]) -> None:
    if "rests_on" not in claims:
        say("it rests on no record that is there, in these logs up to these sizes")
        return
    place, said = claims["rests_on"], claims["answer"]
    if not isinstance(place, dict) or set(place) != _PLACE_MEMBERS or place["origin"] not in checkpoints:
        raise ProofError("the answer does not say where its record stands in a log that it names")
    checkpoint, entry = checkpoints[place["origin"]], str(place["entry"]).encode()
    members = read_entry(entry)
    index = place["index"]
    if type(index) is not int or (members["log"], members["index"]) != (place["origin"], index):
        raise ProofError("the entry states another log or index than the answer")
    siblings = place["path"] if isinstance(place["path"], list) else [None]
    path = [decode_base64(str(sibling)) for sibling in siblings]
    if any(sibling is None or len(sibling) != _HASH_BYTES for sibling in path):
        raise ProofError("the answer's path holds something that is no hash")
    verify_inclusion(leaf_hash(entry), index, checkpoint.size, [s for s in path if s is not None], checkpoint.root)
    shown = said.get("notice")
    if "notice" in members and (not isinstance(shown, dict) or shown.get("sha256") != members["notice"]):
        raise ProofError("the answer and the log's entry name different notices")
    say(f"leaf {index} of {checkpoint.size} in {checkpoint.origin}, recorded at {members['recorded_at']}")
