"""The keys document of a log (`sayso-keys/v1`), as it is served and as it lies in every bundle."""

from collections.abc import Sequence
from typing import Any

from schemas.errors import ProofError
from schemas.log_keys import FORMAT, LogKeys, check_log_keys, keys_at
from schemas.note import VerifierKey, open_note
from schemas.record import format_time
from services.query.store import Reader, Row


def log_keys(name: str, origin: str, rows: Sequence[Row]) -> LogKeys:
    """The verified chain of a log's keys from its rows (Reader.log_keys). Raises ProofError if they do not fit."""
    keys: list[dict[str, Any]] = [
        {
            "number": row["number"],
            "vkey": row["vkey"],
            "made_at": format_time(row["made_at"]),
            "ends_at": None if row["ends_at"] is None else format_time(row["ends_at"]),
            "statement": row["statement"],
        }
        for row in rows
    ]
    return check_log_keys({"format": FORMAT, "log": {"name": name, "origin": origin}, "keys": keys})


def signer_of(keys: LogKeys, note: str, size: int) -> VerifierKey:
    """The oldest key that has signed this checkpoint: the one that most readers know. Raises ProofError."""
    candidates = keys_at(keys, size)
    signed_by = {signature.key for signature in open_note(note, candidates).signatures}
    return next(key for key in candidates if key in signed_by)


async def stated_vkey(reader: Reader, row: Row, note: str, size: int) -> str:
    """The key that the proof of a record (log_number, origin) names for its checkpoint. Raises ProofError."""
    rows = await reader.log_keys(row["log_number"])
    if not rows:
        raise ProofError("the log of a record has no keys in the database: run sayso fsck")
    return str(signer_of(log_keys(row["origin"], row["origin"], rows), note, size))
