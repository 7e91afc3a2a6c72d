"""Every single-bit change of a log's files, and whether verifying the whole mirror finds it; over all cores.

Invariant: a change counts as found only if the verifier says ProofError; any other error of its is a mistake of its.
"""

import multiprocessing
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ProofError
from schemas.mirror import verify_mirror
from schemas.note import parse_verifier_key

# A file's path, and a bit of it counted from the first of its first byte.
Place = tuple[str, int]
AT_ONCE = 500


@dataclass(frozen=True)
class MirroredLog:
    """The files of a log below its prefix, and what its reader knows: origin and verifier keys, every signer pinned."""

    files: dict[str, bytes]
    origin: str
    vkeys: tuple[str, ...]
    # Entries of another format than ours.
    foreign: bool

    def verify(self, files: dict[str, bytes]) -> int:
        """The size of the log in `files`. Raises ProofError."""
        keys = [parse_verifier_key(vkey) for vkey in self.vkeys]
        checkpoint = verify_mirror(files.get, origin=self.origin, vkeys=keys, foreign=self.foreign, pinned=True)
        return checkpoint.size

    def places(self) -> list[Place]:
        """Every bit there is."""
        return [(path, bit) for path, content in sorted(self.files.items()) for bit in range(8 * len(content))]

    def some_places(self, seed: int, count: int) -> list[Place]:
        """So many bits, each as likely as any other."""
        return random.Random(seed).sample(self.places(), count)

    def missed(self, places: Sequence[Place]) -> list[Place]:
        """Those of the changes, one at a time, that nothing finds."""
        found = []
        for path, bit in places:
            changed = bytearray(self.files[path])
            changed[bit // 8] ^= 1 << bit % 8
            try:
                self.verify({**self.files, path: bytes(changed)})
            except ProofError:
                continue
            found.append((path, bit))
        return found

    def missed_over_all_cores(self, places: Sequence[Place]) -> list[Place]:
        """The same, for many."""
        parts = [places[at : at + AT_ONCE] for at in range(0, len(places), AT_ONCE)]
        # Not forked: the test run has threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            return [place for found in pool.map(self.missed, parts) for place in found]


def read_files(prefix: Path) -> dict[str, bytes]:
    """Every file below a directory, by path."""
    return {path.relative_to(prefix).as_posix(): path.read_bytes() for path in prefix.rglob("*") if path.is_file()}
