"""Where a log is mirrored to: one small protocol, and how each file is served from there (C2SP tlog-tiles).

A directory and an S3 bucket implement it; tests/contract/test_mirror_targets.py holds both to it.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from schemas.mirror import CHECKPOINT_FILE
from services.query.published import FRESH, IMMUTABLE, TEXT_TYPE, TILE_TYPE

JSON_TYPE: Final = "application/json"


class Target(Protocol):
    """One place for the files of one log; paths are those below the log's prefix.

    Guarantees: a reader sees a file whole or not at all, also when the writer is killed at any point; what `add` and
    `put` stored survives a power cut once `settle` has returned, and so does what `replace` stored once it has.
    Every method raises MirrorAway when the place does not answer, ConfigurationError when it refuses us, and OSError
    when a disk does.
    """

    async def open(self) -> None:
        """Make ready; nothing else may be called before. Raises ConfigurationError if another writer is at work."""

    async def close(self) -> None: ...

    async def get(self, path: str) -> bytes | None:
        """The bytes as they were given to us, uncompressed; None if the file is not there."""

    async def add(self, path: str, content: bytes) -> bool:
        """Store a file that must never change; False if it was there with these bytes already.

        Raises ProofError, and changes nothing, if it is there with others.
        """

    async def put(self, path: str, content: bytes) -> None:
        """Store a file that may change."""

    async def settle(self) -> None:
        """Return when everything stored so far is durable."""

    async def replace(self, path: str, content: bytes, seen: bytes | None) -> None:
        """Store `content` in one step if the file still is what `get` gave; else raise ConfigurationError."""

    async def discard(self, folder: str) -> None:
        """Remove every file directly below a folder; nothing happens if there is none."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How a file is served: its headers, and whether it is stored compressed where a place can say so."""

    media_type: str
    cache_control: str
    squeezed: bool = False


def serving_of(path: str) -> Serving:
    """The headers that C2SP asks for: tiles and bundles for ever, the checkpoint for a moment."""
    if path.startswith("tile/"):
        # Entries are JSON; hashes do not compress.
        return Serving(TILE_TYPE, IMMUTABLE, squeezed=path.startswith("tile/entries/"))
    if path.endswith(".json"):
        return Serving(JSON_TYPE, FRESH)
    return Serving(TEXT_TYPE, FRESH)


def differs(path: str) -> str:
    """The sentence for a file that must never change and has."""
    return (
        f"{path}: the mirror holds other bytes than the log: one of the two was changed; run sayso fsck on the log, "
        "and if it is clean keep the mirror's file as evidence and mirror to an empty place"
    )


def moved_on(path: str = CHECKPOINT_FILE) -> str:
    """The sentence for a file that another writer replaced under our hands."""
    return f"somebody else wrote {path} of this mirror meanwhile: let only one sayso publish write to a place"
