"""Verifies a whole proof bundle offline, step by step (docs/bundle-format.md, Verification).

Invariant: what the reader pins is never replaced by what the bundle brings; where nothing is pinned, the step says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.archive import read_archive, read_folder
from schemas.bundle import Bundle, parse_bundle, verify_document
from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import ProofError
from schemas.log_keys import LogKeys, keys_at, read_log_keys
from schemas.manifest import BUNDLE_LEVELS_MAX, Contents, LogFiles, check_notice, read_contents, read_manifest
from schemas.note import VerifierKey, decode_text, open_note, parse_verifier_key
from schemas.policy import Policy, parse_policy
from schemas.receipts_verify import open_jws, read_jwks, verify_receipt
from schemas.record import PART_NAMES, read_entry
from schemas.steps import Run, Step
from schemas.strict_json import read_canonical, read_json, write_json
from schemas.timestamp import PinnedCertificate, read_roots, verify_timestamp

REPORT_FORMAT: Final = "sayso-report/v1"
CERTIFICATE_TYPE: Final = "sayso-erasure+jwt"

Say = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Pins:
    """What the reader brought from elsewhere.

    vkeys: verifier keys of logs. policy: a tlog-policy. roots: certificates in PEM. jwks: the keys of receipts.
    """

    vkeys: Sequence[str] = ()
    policy: bytes | None = None
    roots: bytes | None = None
    jwks: bytes | None = None


@dataclass(slots=True)
class _Log:
    """A log as far as it is verified."""

    name: str
    files: LogFiles
    keys: LogKeys
    # Set by step 5, with the keys that may sign at its size.
    checkpoint: Checkpoint = field(init=False)
    signers: Sequence[VerifierKey] = field(init=False)

    @property
    def origin(self) -> str:
        return self.keys.origin


@dataclass(slots=True)
class _Bundle:
    """A bundle as far as it is verified; `proofs` by event, `logs` by origin."""

    contents: Contents
    pins: Pins
    policy: Policy | None
    logs: dict[str, _Log] = field(default_factory=dict)
    proofs: dict[str, Bundle] = field(default_factory=dict)


def verify_archive(
    source: bytes | Path, pins: Pins, done: Callable[[Step], None] = lambda _: None
) -> Mapping[str, Bundle]:
    """Verify a bundle, a zip's bytes or a folder; return its proofs by event.

    `done` is told each step as it ends, a failed one too. Raises ProofError that opens with the number of the step, or
    without one when the pinned policy cannot be read; OSError for a folder that cannot be read.
    """
    policy = None if pins.policy is None else parse_policy(pins.policy)
    run = Run(done)
    # 1. The zip or folder is one that every reader sees the same way.
    with run.step("archive") as say:
        files = _read(source, say)
    # 2. It is what its maker put together.
    with run.step("manifest") as say:
        bundle = _Bundle(read_manifest(files), pins, policy)
        say(f"made {bundle.contents.made_at}, {len(files)} files as listed")
    # 3. Everything has its place.
    with run.step("contents") as say:
        read_contents(bundle.contents, files)
        say(f"about one {bundle.contents.about['kind']}: {len(bundle.contents.events)} events")
        if bundle.contents.about.get("complete") is False:
            say("the subject may have more records than this bundle holds", remark=True)
    # 4. to 7. The logs: keys, checkpoint, and what outsiders say of it.
    for name, check in (
        ("keys", _check_keys),
        ("checkpoint", _check_checkpoints),
        ("witnesses", _check_witnesses),
        ("timestamps", _check_timestamps),
    ):
        with run.step(name) as say:
            check(bundle, say)
    # 8. to 12. The records under them.
    for name, check in (
        ("proofs", _check_proofs),
        ("notices", _check_notices),
        ("catalogue", _check_catalogue),
        ("receipts", _check_receipts),
        ("report", _check_report),
    ):
        with run.step(name) as say:
            check(bundle, say)
    return bundle.proofs


def _read(source: bytes | Path, say: Say) -> dict[str, bytes]:
    if isinstance(source, bytes):
        files = read_archive(source)
        say(f"zip of {len(source)} bytes")
        return files
    files, hidden = read_folder(source)
    say("an unpacked folder")
    if hidden:
        say(f"{hidden} hidden files are left aside", remark=True)
    return files


# --- logs -----------------------------------------------------------------------------------------------------


def _check_keys(bundle: _Bundle, say: Say) -> None:
    pinned = {str(parse_verifier_key(vkey)) for vkey in bundle.pins.vkeys}
    pinned |= set() if bundle.policy is None else {str(log.key) for log in bundle.policy.logs}
    for name, files in bundle.contents.logs.items():
        keys = read_log_keys(files.files["keys.json"])
        if keys.name != name or keys.origin in bundle.logs:
            raise ProofError(f"logs/{name}/keys.json is that of another log")
        bundle.logs[keys.origin] = _Log(name, files, keys)
        mine = {vkey for vkey in pinned if parse_verifier_key(vkey).name == keys.origin}
        known = {str(key.vkey) for key in keys.keys}
        if mine and not mine & known:
            raise ProofError(f"logs/{name}: no chain of keys leads to the key given for this log: compare the origins")
        if mine:
            say(f"{keys.origin}: given by the reader, {len(known)} keys in its chain")
        else:
            say(
                f"{keys.origin}: the keys are the bundle's own; compare with the published {keys.keys[0].vkey}",
                remark=True,
            )
    strangers = {parse_verifier_key(vkey).name for vkey in bundle.pins.vkeys} - set(bundle.logs)
    if strangers:
        raise ProofError("a verifier key was given for a log of which this bundle holds nothing: compare the origins")


def _check_checkpoints(bundle: _Bundle, say: Say) -> None:
    for log in bundle.logs.values():
        note, signed = log.files.checkpoint("note"), log.files.checkpoint("signed")
        log.signers = keys_at(log.keys, log.files.size)
        checkpoint = open_checkpoint(signed, log.origin, log.signers)
        if checkpoint.size != log.files.size:
            raise ProofError(f"logs/{log.name}: the checkpoint has another size than its file says")
        # What follows the log's own lines are lines of others, and `open_checkpoint` has read each of them as one.
        if not note.startswith(signed) or open_checkpoint(note, log.origin, log.signers) != checkpoint:
            raise ProofError(f"logs/{log.name}: the checkpoint with cosignatures is not the one without")
        if any(not line.startswith(f"\u2014 {log.origin} ") for line in _signature_lines(signed)):
            raise ProofError(f"logs/{log.name}: the bytes that were timestamped hold a line of somebody else's")
        log.checkpoint = checkpoint
        say(f"{log.origin}: size {checkpoint.size}, root {checkpoint.root.hex()}")


def _signature_lines(note: bytes) -> list[str]:
    text = decode_text(note) or ""
    return text.rpartition("\n\n")[2].splitlines()


def _check_witnesses(bundle: _Bundle, say: Say) -> None:
    for log in bundle.logs.values():
        own = log.files.files.get("policy.txt")
        policy = bundle.policy if bundle.policy is not None else None if own is None else parse_policy(own)
        if policy is None:
            say(f"{log.origin}: no witness policy, so nobody else vouches that all are shown the same log", remark=True)
            continue
        # A witness that is known and whose line fails condemns the note, under whosever policy.
        known = [*log.signers, *(witness.key for witness in policy.witnesses)]
        signed_by = {signature.key for signature in open_note(log.files.checkpoint("note"), known).signatures}
        names = [witness.name for witness in policy.witnesses if witness.key in signed_by]
        chain = {str(key.vkey) for key in log.keys.keys}
        listed = {str(entry.key) for entry in policy.logs if entry.key.name == log.origin}
        is_met = policy.accepts_log(log.origin) and policy.is_met(names) and (not listed or bool(listed & chain))
        seen = f"{log.origin}: cosigned by {', '.join(names) or 'nobody'}"
        if bundle.policy is None:
            say(f"{seen}; the policy is the bundle's own and {'holds' if is_met else 'does NOT hold'}", remark=True)
        elif is_met:
            say(f"{seen}; the policy holds")
        else:
            raise ProofError(f"{seen}, which the policy given does not accept")


def _check_timestamps(bundle: _Bundle, say: Say) -> None:
    pinned = None if bundle.pins.roots is None else read_roots(bundle.pins.roots)
    for log in bundle.logs.values():
        vouched = False
        for authority in sorted(log.files.stamped):
            vouched |= _check_timestamp(log, authority, pinned, say)
        if pinned is not None and not vouched:
            raise ProofError(f"logs/{log.name}: no timestamp leads to the roots given")
        if not log.files.stamped:
            say(f"{log.origin}: no timestamp, so only the operator says when this was", remark=True)


def _check_timestamp(log: _Log, authority: str, pinned: Sequence[PinnedCertificate] | None, say: Say) -> bool:
    """Check one token; whether it stands under pinned roots."""
    nonce = log.files.timestamp(authority, "nonce")
    try:
        asked = bytes.fromhex(nonce.removesuffix(b"\n").decode("ascii"))
    except ValueError:
        asked = b""
    if nonce != asked.hex().encode() + b"\n" or len(asked) != 8:
        raise ProofError(f"logs/{log.name}: the nonce asked of {authority} is not 16 hex digits")
    response, message = log.files.timestamp(authority, "tsr"), log.files.checkpoint("signed")
    if pinned is not None:
        try:
            stamp = verify_timestamp(response, message, pinned, nonce=asked)
        except ProofError:
            pass  # perhaps only of another authority: its own roots tell
        else:
            say(f"{log.origin}: there at {stamp.gen_time.isoformat()}, says {authority} ({stamp.authority})")
            return True
    own = read_roots(log.files.files[f"timestamps/{authority}.pem"])
    stamp = verify_timestamp(response, message, own, nonce=asked)
    said = f"{log.origin}: there at {stamp.gen_time.isoformat()}, says {authority} ({stamp.authority})"
    say(f"{said}, under roots that are the bundle's own", remark=True)
    return False


# --- records --------------------------------------------------------------------------------------------------


def _check_proofs(bundle: _Bundle, say: Say) -> None:
    used = set()
    for event, files in bundle.contents.events.items():
        raw = files["proof.json"]
        read_canonical(raw, f"events/{event}/proof.json", controls=True)
        proof = parse_bundle(raw)
        log = bundle.logs.get(proof.origin)
        if log is None:
            raise ProofError(f"events/{event}: the bundle holds no keys of the log that the proof is of")
        used.add(proof.origin)
        if proof.vkey not in {str(key.vkey) for key in log.keys.keys}:
            raise ProofError(f"events/{event}: the proof states a key that is none of the log's")
        if proof.event != event:
            raise ProofError(f"events/{event}: the proof is of another event")
        if proof.checkpoint.encode() != log.files.checkpoint("note"):
            raise ProofError(f"events/{event}: the proof leads to another checkpoint than the bundle's")
        if proof.tlog_proof().encode() != files["proof.tlog-proof"]:
            raise ProofError(f"events/{event}: the two spellings of the proof differ")
        _check_proof(event, proof, log, say)
        entry = read_entry(proof.entry)
        if bundle.contents.about["kind"] == "erasure" and (entry["class"] != "erasure" or "erased" not in entry):
            raise ProofError(f"events/{event}: the record does not declare an erasure")
        bundle.proofs[event] = proof
    if used != set(bundle.logs):
        raise ProofError("the bundle holds keys of a log that none of its proofs is of")
    say(f"{len(bundle.proofs)} records are in their logs, with the parts and words that they commit to")


def _check_proof(event: str, proof: Bundle, log: _Log, say: Say) -> None:
    def inner(step: Step) -> None:
        if step.outcome == "remark":
            say(f"{event}: {step.text}", remark=True)

    try:
        verify_document(Run(inner), proof, log.origin, log.signers)
    except ProofError as error:
        raise ProofError(f"events/{event}: {error}") from error


def _check_notices(bundle: _Bundle, say: Say) -> None:
    notices = bundle.contents.notices
    named = set()
    for event, proof in bundle.proofs.items():
        if proof.notice is None:
            continue
        # The proof's words have the hash that the entry names: step 8 has seen to that.
        sha256 = str(read_entry(proof.entry)["notice"])
        named.add(sha256)
        if sha256 not in notices:
            raise ProofError(f"events/{event}: the notice that the proof holds is not among the notices")
    if set(notices) != named:
        raise ProofError("the bundle holds a notice that no proof names")
    for sha256, files in notices.items():
        check_notice(sha256, files)
    say(f"{len(notices)} notices, as their records name them" if notices else "no record names known words")


def _check_catalogue(bundle: _Bundle, say: Say) -> None:
    count = len(bundle.contents.catalogue)
    say(f"{count} services, as the manifest has them; nothing signs what is said of them" if count else "none")


def _check_receipts(bundle: _Bundle, say: Say) -> None:
    if bundle.contents.jwks is None:
        say("none")
        return
    receipts = {e: files["receipt.jws"] for e, files in bundle.contents.events.items() if "receipt.jws" in files}
    pinned = bundle.pins.jwks
    keys = read_jwks(bundle.contents.jwks if pinned is None else pinned)
    if bundle.contents.certificate is not None:
        _check_certificate(bundle, bundle.contents.certificate, keys)
    for event, jws in receipts.items():
        proof = bundle.proofs[event]
        try:
            claims = verify_receipt(jws.decode("ascii"), keys, vkey=proof.vkey, origin=proof.origin)
        except (ProofError, UnicodeDecodeError) as error:
            raise ProofError(f"events/{event}/receipt.jws: {error}") from error
        # It may lead to another checkpoint, but to this record.
        if parse_bundle(claims["proof"]["tlog_proof"].encode()).entry != proof.entry:
            raise ProofError(f"events/{event}/receipt.jws: the receipt is of another record")
    what = f"{len(receipts)} receipts" if bundle.contents.certificate is None else "the certificate"
    said = f"{what} signed, and in agreement with the log's records"
    say(said if pinned is not None else f"{said}; their key is the bundle's own", remark=pinned is None)


def _check_certificate(bundle: _Bundle, jws: bytes, keys: Mapping[str, bytes]) -> None:
    """The certificate of an erasure says what the report says, and names the places of the records that declare it."""
    try:
        payload, _ = open_jws(jws.decode("ascii"), keys, CERTIFICATE_TYPE)
        claims = read_canonical(payload, "the certificate")
    except (ProofError, UnicodeDecodeError) as error:
        raise ProofError(f"certificate.jws: {error}") from error
    report = read_canonical(bundle.contents.report, "report.json", levels=BUNDLE_LEVELS_MAX, controls=True)
    if write_json(report.get("erasure")) != write_json(claims):
        raise ProofError("report.json says of the erasure what its certificate does not")
    entries = [read_entry(proof.entry) for proof in bundle.proofs.values()]
    try:
        declared = {(log["declared"]["origin"], log["declared"]["index"]) for log in claims["logs"]}
        counts = [
            (sum(log[n] for log in claims["logs"]), sum(entry["erased"][n] for entry in entries)) for n in PART_NAMES
        ]
    except (KeyError, TypeError):
        raise ProofError("certificate.jws does not say what each log declares deleted, and where") from None
    if declared != {(proof.origin, proof.index) for proof in bundle.proofs.values()}:
        raise ProofError("certificate.jws names other records than those that the bundle proves")
    if any(certified != recorded for certified, recorded in counts):
        raise ProofError("certificate.jws counts other parts than the records declare deleted")


def record_facts(proof: Bundle, log: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a report says of a record: its place under the checkpoint, and each part that the proof discloses."""
    entry = read_entry(proof.entry)
    facts: dict[str, Any] = {
        "event": proof.event,
        "log": log,
        "origin": proof.origin,
        "index": proof.index,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "class": entry["class"],
        "recorded_at": entry["recorded_at"],
        "notice": entry.get("notice"),
    }
    for name in PART_NAMES:
        part = proof.disclosed.get(name)
        facts[name] = None if part is None else read_json(part[1])[0]
    return facts


def _check_report(bundle: _Bundle, say: Say) -> None:
    report = read_canonical(bundle.contents.report, "report.json", levels=BUNDLE_LEVELS_MAX, controls=True)
    stated = {name: report.get(name) for name in ("format", "made_at", "about")}
    expected = {"format": REPORT_FORMAT, "made_at": bundle.contents.made_at, "about": bundle.contents.about}
    if write_json(stated) != write_json(expected):
        raise ProofError("report.json is not the report of this bundle")
    records = report.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ProofError("report.json does not list the records")
    if sorted(str(record.get("event")) for record in records) != sorted(bundle.proofs):
        raise ProofError("report.json speaks of other events than the bundle holds")
    for record in records:
        proof = bundle.proofs[str(record["event"])]
        log = bundle.logs[proof.origin]
        for name, value in record_facts(proof, log.name, log.checkpoint).items():
            # By their spelling: 1 and true are equal to Python.
            if name not in record or write_json(record[name]) != write_json(value):
                raise ProofError(f"report.json and the proof in events/{proof.event} differ in {name!r}")
    say("report.json names the records as the proofs do; what it and report.pdf say besides is their maker's word")
