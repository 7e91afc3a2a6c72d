"""What others have said about one log: witnesses' cosignatures and authorities' timestamps, verified again.

They are kept as they came, so a row that does not verify was changed, or was never what it is said to be. Without the
policy or the authorities of the deployment, what a row says is only held against its own columns and its note.
"""

from hashlib import sha256
from pathlib import Path

from schemas.errors import CheckpointError, ConfigurationError, ProofError
from schemas.note import VerifierKey, decode_base64, open_note
from schemas.policy import parse_policy
from schemas.timestamp_token import parse_timestamp
from services.ledger.evidence.authorities import Authority, read_authorities
from services.ledger.evidence.timestamp_check import check_response
from services.ledger.fsck.findings import Pace, Report
from services.ledger.fsck.snapshot import SeenLog, Snapshot
from services.ledger.settings import LedgerSettings
from services.ledger.store import Row

_KEY_ID_BYTES = 4
_TIME_BYTES = 8


class EvidenceWalk:
    """Walks the cosignatures and timestamps of one log once, in the order of sizes."""

    def __init__(self, snapshot: Snapshot, log: SeenLog, settings: LedgerSettings, report: Report) -> None:
        """Raises ConfigurationError for a policy or authorities that cannot be read."""
        self._snapshot = snapshot
        self._log = log
        self._report = report
        self._witnesses = _witness_keys(settings.witness_policy_file)
        authorities = read_authorities(settings.timestamp_authorities_file)
        self._authorities = {authority.name: authority for authority in authorities}

    async def run(self, pace: Pace) -> None:
        """1. Cosignatures; 2. timestamps; 3. wishes; 4. what is shown."""
        log = self._log
        counts = await self._snapshot.evidence_basis(log)
        done, total = 0, sum(counts[1:])
        async for rows in self._snapshot.cosignatures(log):
            for row in rows:
                self._check_cosignature(row)
            done += len(rows)
            pace.step(f"{log.name}: cosignatures and timestamps", done, total)
        async for rows in self._snapshot.timestamps(log):
            for row in rows:
                self._check_timestamp(row)
            done += len(rows)
            pace.step(f"{log.name}: cosignatures and timestamps", done, total)
        for size in await self._snapshot.wishes_for_nothing(log):
            self._add("timestamp_wishes", f"size {size}", "there is no checkpoint of this size")
        shown = log.published_size
        if shown is not None and not await self._snapshot.checkpoints(log, shown - 1, shown):
            self._add("log_heads", "published_size", "there is no checkpoint of the size that is shown")

    def _check_cosignature(self, row: Row) -> None:
        where = f"size {row['size']}, witness {row['witness']}"
        if row["note"] is None:
            self._add("cosignatures", where, "there is no checkpoint of this size")
            return
        start = f"\u2014 {row['witness']} "
        blob = decode_base64(row["line"].removeprefix(start).removesuffix("\n"))
        if not row["line"].startswith(start) or not row["line"].endswith("\n") or blob is None:
            self._add("cosignatures", where, "the line is not a signature line of this witness")
            return
        stated = int.from_bytes(blob[_KEY_ID_BYTES : _KEY_ID_BYTES + _TIME_BYTES], "big")
        if blob[:_KEY_ID_BYTES] != row["key_id"] or stated != row["cosigned_at"].timestamp():
            self._add("cosignatures", where, "key id or time of the row are not those in the line")
        key = self._witnesses.get((row["witness"], blob[:_KEY_ID_BYTES]))
        if key is None:
            # Not, or no longer, a witness of the policy.
            return
        text = row["note"].rpartition("\n\n")[0] + "\n"
        try:
            open_note(f"{text}\n{row['line']}", [key])
        except CheckpointError as error:
            self._add("cosignatures", where, str(error))

    def _check_timestamp(self, row: Row) -> None:
        where = f"size {row['size']}, number {row['seq']}"
        if row["note"] is None:
            self._add("timestamps", where, "there is no checkpoint of this size")
            return
        if row["gen_time"] is None:
            # Kept, though nothing could verify it when it came.
            return
        note = row["note"].encode()
        authority = self._authorities.get(row["authority"])
        try:
            info = parse_timestamp(row["response"]).info
            if authority is None and any(_verifies(row, note, other) for other in self._authorities.values()):
                self._add("timestamps", where, "it is of another authority than the row says")
            elif authority is not None:
                checked = check_response(row["response"], note, row["nonce"], authority)
                if checked.verified_by != row["verified_by"]:
                    self._add("timestamps", where, "another verifier than the one named verifies it")
        except ProofError as error:
            self._add("timestamps", where, str(error))
            return
        said = info.imprint, info.nonce, info.gen_time
        if said != (sha256(note).digest(), int.from_bytes(row["nonce"], "big"), row["gen_time"]):
            self._add("timestamps", where, "the token is not over this checkpoint, or not of this nonce or time")

    def _add(self, table: str, where: str, what: str) -> None:
        self._report.add(table, self._log.name, where, what)


def _verifies(row: Row, note: bytes, authority: Authority) -> bool:
    try:
        check_response(row["response"], note, row["nonce"], authority)
    except ProofError:
        return False
    return True


def _witness_keys(path: Path | None) -> dict[tuple[str, bytes], VerifierKey]:
    """By name and key id."""
    if path is None:
        return {}
    try:
        policy = parse_policy(path.read_bytes())
    except (OSError, ProofError) as error:
        raise ConfigurationError(f"the witness policy {path} cannot be used: {error}") from None
    return {(witness.key.name, witness.key.key_id): witness.key for witness in policy.witnesses}
