"""Lays out a proof bundle (docs/bundle-format.md): records and logs with their evidence in, one zip out. Pure.

Invariant: whatever this makes, schemas.bundle_check accepts; report.json is made of what the proofs themselves say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from schemas.archive import write_archive
from schemas.bundle import Bundle
from schemas.bundle_check import REPORT_FORMAT, record_facts
from schemas.catalogue import DIRECTORY as CATALOGUE
from schemas.catalogue import catalogue_services
from schemas.checkpoint import Checkpoint
from schemas.manifest import notice_text, write_manifest
from schemas.notices import notice_hash
from schemas.strict_json import write_json
from schemas.verifier import verifiers
from services.query.bundles.certificates import Certificate


@dataclass(frozen=True, slots=True)
class Token:
    """A timestamp that verified: the authority's name and roots (PEM), its response, our nonce, the time it states."""

    authority: str
    response: bytes
    nonce: bytes
    roots: bytes
    gen_time: str


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """One log under the checkpoint its proofs lead to. signed: that, as it was signed; cosignatures: further lines.

    vkey: one that signed it. witnesses: (name, time). lacks: sentences about what a reader might look for in vain.
    """

    name: str
    checkpoint: Checkpoint
    vkey: str
    signed: str
    cosignatures: str
    keys: bytes
    policy: bytes | None
    witnesses: Sequence[tuple[str, str]]
    tokens: Sequence[Token]
    lacks: Sequence[str]

    @property
    def size(self) -> int:
        return self.checkpoint.size

    @property
    def note(self) -> str:
        """The checkpoint as it stands in the proofs."""
        return self.signed + self.cosignatures


@dataclass(frozen=True, slots=True)
class Proven:
    """One record with its proof; the name of its log; its receipt, where it has one."""

    proof: Bundle
    log: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Dossier:
    """Everything that goes into one bundle. logs: by origin. state: what stands now; None where nobody is asked about.

    next: where the subject's records go on, for the next bundle. left_out: records whose decision part was deleted.
    """

    made_at: str
    about: Mapping[str, Any]
    controller: Mapping[str, str]
    records: Sequence[Proven]
    logs: Mapping[str, LogEvidence]
    state: Mapping[str, Any] | None
    receipt_keys: bytes
    next: str | None = None
    left_out: int = 0
    certificate: Certificate | None = None


_README: Final = """\
Proof of consent
================

This folder proves, without any service, what was recorded and when. report.pdf is for reading; report.json holds the
same for machines; events/ holds the proofs; notices/ the exact words that were shown.

To check all of it, open verify.html in a browser and drop the zip on it, or run (Python 3.11 or later):

    pip install cryptography
    python verify.py

Both work without a network. They say which keys, witnesses and timestamp authorities they relied on. Compare those with
what the service publishes, or give your own with --vkey, --policy and --roots: then nothing in here is taken on trust.
Do not take the verifier from somebody whose word you doubt; it is the same in every bundle of a release.
"""


def report_facts(dossier: Dossier) -> dict[str, Any]:
    """report.json as an object (docs/bundle-format.md, Report)."""
    facts: dict[str, Any] = {
        "format": REPORT_FORMAT,
        "made_at": dossier.made_at,
        "about": dossier.about,
        "controller": dossier.controller,
        "records": [record_facts(r.proof, r.log, dossier.logs[r.proof.origin].checkpoint) for r in dossier.records],
        "state": dossier.state,
        "logs": [_log_facts(log) for log in dossier.logs.values()],
        "left_out": dossier.left_out,
        "next": dossier.next,
    }
    if dossier.certificate is not None:
        facts["erasure"] = dossier.certificate.claims
    return facts


def _log_facts(log: LogEvidence) -> dict[str, Any]:
    return {
        "log": log.name,
        "origin": log.checkpoint.origin,
        "size": log.size,
        "root": log.checkpoint.root.hex(),
        "witnesses": [{"name": name, "time": time} for name, time in log.witnesses],
        "timestamps": [{"authority": token.authority, "time": token.gen_time} for token in log.tokens],
        "lacks": list(log.lacks),
    }


def bundle_zip(dossier: Dossier, facts: Mapping[str, Any], pdf: bytes) -> bytes:
    """The zip. Raises ProofError when it would be larger than a reader takes."""
    files = {"README.txt": _README.encode(), "report.json": write_json(facts), "report.pdf": pdf, **verifiers()}
    services: set[str] = set()
    for record in dossier.records:
        folder = f"events/{record.proof.event}"
        files[f"{folder}/proof.json"] = record.proof.json()
        files[f"{folder}/proof.tlog-proof"] = record.proof.tlog_proof().encode()
        if record.receipt is not None:
            files[f"{folder}/receipt.jws"] = record.receipt.encode()
        if record.proof.notice is not None:
            files |= notice_files(record.proof.notice)
        services |= services_of(record.proof)
    for log in dossier.logs.values():
        files |= _log_files(log)
    if dossier.certificate is not None:
        files["certificate.jws"] = dossier.certificate.jws.encode()
    if dossier.certificate is not None or any(record.receipt is not None for record in dossier.records):
        files["receipts.jwks"] = dossier.receipt_keys
    # Only names that the catalogue has: a name from an event never becomes a path of ours.
    files |= {f"catalogue/{n}.yaml": (CATALOGUE / f"{n}.yaml").read_bytes() for n in services & catalogue_services()}
    files["manifest.json"] = write_manifest(dossier.made_at, dossier.about, files)
    return write_archive(files)


def _log_files(log: LogEvidence) -> dict[str, bytes]:
    folder = f"logs/{log.name}"
    files = {
        f"{folder}/keys.json": log.keys,
        f"{folder}/checkpoints/{log.size}.note": log.note.encode(),
        f"{folder}/checkpoints/{log.size}.signed": log.signed.encode(),
    }
    if log.policy is not None:
        files[f"{folder}/policy.txt"] = log.policy
    for token in log.tokens:
        files[f"{folder}/timestamps/{log.size}-{token.authority}.tsr"] = token.response
        files[f"{folder}/timestamps/{log.size}-{token.authority}.nonce"] = f"{token.nonce.hex()}\n".encode()
        files[f"{folder}/timestamps/{token.authority}.pem"] = token.roots
    return files


def notice_files(content: bytes) -> dict[str, bytes]:
    """A notice's bytes, its text for people, and the HTML that was drawn if it says so."""
    notice = orjson.loads(content)
    stem = f"notices/{notice_hash(content).hex()}"
    files = {f"{stem}.json": content, f"{stem}.txt": notice_text(notice).encode()}
    if "html" in notice:
        files[f"{stem}.html"] = notice["html"].encode()
    return files


def services_of(proof: Bundle) -> set[str]:
    """The services that a record's decisions and its notice name."""
    named: set[str] = set()
    if "what" in proof.disclosed:
        for decision in orjson.loads(proof.disclosed["what"][1]).get("decisions", []):
            named.update(decision.get("services", []))
    if proof.notice is not None:
        for purpose in orjson.loads(proof.notice)["purposes"]:
            named.update(purpose["services"])
    return named
