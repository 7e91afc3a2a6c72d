"""`sayso verify manifest.json`: a whole export, offline: its signature, its checkpoints, every file and every row.

A row is checked against its own entry; rows that nobody could choose beforehand are also proven to stand in their log.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import orjson
from pydantic import ValidationError

from schemas.bundle_check import Pins, verify_archive
from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import ConfigurationError, ProofError
from schemas.exports import (
    EXPORT_FORMAT,
    EXPORT_TYPE,
    SIGNATURE,
    ExportedFile,
    ExportedLog,
    Manifest,
    Row,
    Sample,
    sampled,
    signed_claims,
)
from schemas.log_keys import check_log_keys, keys_at
from schemas.merkle import leaf_hash, verify_inclusion
from schemas.note import decode_base64
from schemas.receipts_verify import open_jws, read_jwks
from schemas.record import commitment, part_digest, verify_commitment
from schemas.steps import Run, Step
from schemas.strict_json import read_json
from schemas.timestamp import read_roots, verify_timestamp
from services.cli.export_rows import rows_of

Say = Callable[..., None]
_LEVELS: Final = 32


@dataclass(slots=True)
class _Export:
    """An export as far as it is verified; `checkpoints` by origin."""

    folder: Path
    manifest: Manifest
    pins: Pins
    identity: Path | None
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    rows: int = 0


def is_manifest(path: Path) -> bool:
    """Whether a file is the manifest of an export. Raises OSError."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == b"{" and b'"format":"%b"' % EXPORT_FORMAT.encode() in path.read_bytes()


def verify_export(path: Path, pins: Pins, identity: Path | None) -> list[Step]:
    """Every step, a failed one last; the files lie beside the manifest. Raises OSError, ConfigurationError."""
    steps: list[Step] = []
    with suppress(ProofError):
        _verify(path, pins, identity, Run(steps.append))
    return steps


def _verify(path: Path, pins: Pins, identity: Path | None, run: Run) -> None:
    raw = path.read_bytes()
    # 1. The manifest is one of this version.
    with run.step("manifest") as say:
        export = _Export(path.parent, _read(raw), pins, identity)
        counts = export.manifest.left_out.model_dump()
        say(f"{len(export.manifest.files)} files, {export.manifest.records} records, made {export.manifest.made_at}")
        for why, count in counts.items():
            if count:
                say(f"left out as {why}: {count}")
    # 2. Whoever signs receipts has signed it.
    with run.step("signature") as say:
        _check_signature(export, raw, say)
    # 3. Each log's one checkpoint holds.
    with run.step("checkpoints") as say:
        for log in export.manifest.logs:
            _check_log(export, log, say)
    # 4. The files are those that were made.
    with run.step("files") as say:
        for file in export.manifest.files:
            _check_file(export, file)
        say(f"{sum(file.bytes for file in export.manifest.files)} bytes, as listed")
    # 5. What is in them is what the logs hold.
    with run.step("records") as say:
        _check_contents(export, say)


def _read(raw: bytes) -> Manifest:
    value, canonical = read_json(raw, levels=_LEVELS, controls=True)
    if canonical != raw:
        raise ProofError("the manifest is not spelt canonically: it was changed")
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError:
        raise ProofError(f"this is no manifest of the format {EXPORT_FORMAT}") from None
    names = [file.name for file in manifest.files]
    if len(set(names)) != len(names) or sum(file.records for file in manifest.files) != manifest.records:
        raise ProofError("the manifest contradicts itself: names or numbers of records do not fit")
    return manifest


def _check_signature(export: _Export, raw: bytes, say: Say) -> None:
    if export.pins.jwks is None:
        say("not checked: give --jwks, fetched from /.well-known/jwks.json", remark=True)
        return
    jws = (export.folder / SIGNATURE).read_bytes().decode("latin-1")
    payload, kid = open_jws(jws, read_jwks(export.pins.jwks), EXPORT_TYPE)
    if orjson.loads(payload) != signed_claims(export.manifest.export, raw):
        raise ProofError(f"{SIGNATURE} was made for another manifest")
    say(f"key {kid}")


def _check_log(export: _Export, log: ExportedLog, say: Say) -> None:
    """1. Keys; 2. the note, with and without what others signed below it; 3. timestamps."""
    keys = check_log_keys(log.keys)
    chain = {str(key.vkey) for key in keys.keys}
    if keys.origin != log.origin:
        raise ProofError("the keys of a log are those of another")
    if pinned := {vkey for vkey in export.pins.vkeys if vkey.startswith(f"{log.origin}+")}:
        if not pinned & chain:
            raise ProofError(f"no chain of keys leads to the key given for {log.origin}")
    else:
        say(f"{log.origin}: the key is the manifest's own; compare with the published {log.vkey}", remark=True)
    signers = keys_at(keys, log.size)
    checkpoint = open_checkpoint(log.signed, log.origin, signers)
    if not log.note.startswith(log.signed) or open_checkpoint(log.note, log.origin, signers) != checkpoint:
        raise ProofError(f"{log.origin}: the checkpoint with cosignatures is not the one without")
    if (checkpoint.size, checkpoint.root.hex()) != (log.size, log.root):
        raise ProofError(f"{log.origin}: the checkpoint has another size or root than the manifest says")
    export.checkpoints[log.origin] = checkpoint
    say(f"{log.origin}: size {log.size}")
    _check_timestamps(export, log, say)


def _check_timestamps(export: _Export, log: ExportedLog, say: Say) -> None:
    given = None if export.pins.roots is None else read_roots(export.pins.roots)
    for stamp in log.timestamps:
        roots = read_roots(decode_base64(stamp.roots) or b"") if given is None else given
        nonce, response = bytes.fromhex(stamp.nonce), decode_base64(stamp.response) or b""
        seen = verify_timestamp(response, log.signed.encode(), roots, nonce=nonce)
        whose = ", under roots that are the manifest's own" if given is None else ""
        say(f"there at {seen.gen_time.isoformat()}, says {stamp.authority}{whose}", remark=given is None)
    if not log.timestamps:
        say("no timestamp, so only the operator says when this was", remark=True)


def _check_file(export: _Export, file: ExportedFile) -> None:
    path = export.folder / file.name
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        raise ProofError(f"{file.name} is not there: all files must lie beside the manifest") from None
    if path.stat().st_size != file.bytes or digest != file.sha256:
        raise ProofError(f"{file.name} is not the file that the manifest names: it was changed or damaged")


def _check_contents(export: _Export, say: Say) -> None:
    proven = 0
    seen: dict[str, int] = {}
    for file in export.manifest.files:
        if file.name.endswith(".age") and export.identity is None:
            say(f"{file.name}: sealed; give --identity to look inside", remark=True)
            continue
        with _clear(export, file) as content:
            if file.bundles is None:
                proven += _check_rows(export, file, content, seen)
            else:
                _check_bundles(export, file, content)
                proven += file.records
    say(f"{export.rows} records fit their entries, {proven} were followed to a checkpoint")


@contextmanager
def _clear(export: _Export, file: ExportedFile) -> Iterator[IO[bytes]]:
    """The content of a file, opened with the identity if it is sealed."""
    with (export.folder / file.name).open("rb") as opened:
        if not file.name.endswith(".age"):
            yield opened
            return
        with TemporaryFile() as clear:
            _decrypt(export.identity, opened, clear)
            clear.seek(0)
            if hashlib.file_digest(clear, "sha256").hexdigest() != file.content_sha256:
                raise ProofError(f"{file.name} holds other content than the manifest names")
            clear.seek(0)
            yield clear


def _decrypt(identity: Path | None, sealed: IO[bytes], clear: IO[bytes]) -> None:
    try:
        import pyrage
    except ImportError:
        raise ConfigurationError("to open age files install the extra `exports`") from None
    lines = [] if identity is None else identity.read_text(encoding="ascii").splitlines()
    secrets = [line.strip() for line in lines if line.startswith("AGE-SECRET-KEY-")]
    if not secrets:
        raise ConfigurationError("the identity file holds no AGE-SECRET-KEY: give the one that opens this export")
    try:
        pyrage.decrypt_io(sealed, clear, [pyrage.x25519.Identity.from_str(secret) for secret in secrets])
    except (pyrage.DecryptError, pyrage.IdentityError):
        raise ProofError("an age file does not open with this identity") from None


def _check_rows(export: _Export, file: ExportedFile, content: IO[bytes], seen: dict[str, int]) -> int:
    """Every row in its order, none twice, fitting its entry; those that the file's hash draws under the checkpoint."""
    kind = file.name.removesuffix(".age").rpartition(".")[2]
    samples = {sample.row: sample for sample in file.samples}
    if sorted(samples) != sampled(file.content_sha256, file.records):
        raise ProofError(f"{file.name}: the manifest proves other rows than the file's hash draws")
    count = 0
    try:
        for row in rows_of(kind, content):
            _check_row(export, row, seen)
            if count in samples:
                _check_sample(export, row, samples[count])
            count += 1
    except ProofError as error:
        raise ProofError(f"{file.name}, row {count + 1}: {error}") from error
    if count != file.records:
        raise ProofError(f"{file.name} holds {count} rows, the manifest says {file.records}")
    export.rows += count
    return len(samples)


def _check_sample(export: _Export, row: Row, sample: Sample) -> None:
    if (sample.log, sample.index) != (row.log, row.index):
        raise ProofError("a sample is of another row")
    verify_commitment(row.entry, row.disclosed, row.digests)
    checkpoint = export.checkpoints[row.log]
    path = [decode_base64(sibling) or b"" for sibling in sample.path]
    verify_inclusion(leaf_hash(row.entry), row.index, checkpoint.size, path, checkpoint.root)


def _check_row(export: _Export, row: Row, seen: dict[str, int]) -> None:
    if row.log not in export.checkpoints or not seen.get(row.log, -1) < row.index < export.checkpoints[row.log].size:
        raise ProofError("its place is not in the log, or stands before another's: a record may be there twice")
    seen[row.log] = row.index
    try:
        entry = orjson.loads(row.entry)
        place, committed = (entry["log"], entry["index"]), entry["commitment"]
    except (ValueError, KeyError, TypeError):
        raise ProofError("the entry is none") from None
    digests = dict(row.digests)
    for name, (salt, part) in row.disclosed.items():
        digests[name] = part_digest(name, salt, part)
    if place != (row.log, row.index) or len(digests) != 3:
        raise ProofError("the entry is of another place, or a part is missing")
    if commitment(digests["who"], digests["what"], digests["context"]).hex() != committed:
        raise ProofError("the parts do not make the commitment in the entry")


def _check_bundles(export: _Export, file: ExportedFile, content: IO[bytes]) -> None:
    pins = Pins(roots=export.pins.roots, jwks=export.pins.jwks)
    records = bundles = 0
    with zipfile.ZipFile(content) as zipped:
        for name in zipped.namelist():
            try:
                proofs = verify_archive(zipped.read(name), pins)
            except ProofError as error:
                raise ProofError(f"{file.name}, {name}: {error}") from error
            for proof in proofs.values():
                known = export.checkpoints.get(proof.origin)
                if known is None or f"\n{known.size}\n" not in proof.checkpoint:
                    raise ProofError(f"{file.name}, {name}: proven under another checkpoint than the manifest's")
            records, bundles = records + len(proofs), bundles + 1
    if (records, bundles) != (file.records, file.bundles):
        raise ProofError(f"{file.name} holds other numbers of bundles or records than the manifest says")
    export.rows += records
