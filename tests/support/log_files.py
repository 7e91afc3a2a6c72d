"""Logs as files: a directory log made with schemas alone, and a plain static HTTP server before any directory."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.merkle import leaf_hash, root_of
from schemas.note import log_key
from schemas.record import NO_PREVIOUS, entry_bytes
from schemas.tiles import ENTRIES, Tile, encode_bundle, tiles_for_size

ORIGIN = "example.com/consent-log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = str(log_key(ORIGIN, KEY))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        # A client that has found what it refuses hangs up on the tiles still under way.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed names the socket types


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory as it is; yields the address."""
    with QuietServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(directory))) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def foreign_entries(size: int) -> list[bytes]:
    """The entries `{"n":i}` of the shared test vectors."""
    return [b'{"n":%d}' % i for i in range(size)]


def own_entries(size: int) -> list[bytes]:
    """Entries of our format that chain; random where a ledger's are."""
    entries: list[bytes] = []
    prev = NO_PREVIOUS
    for index in range(size):
        entries.append(
            entry_bytes(
                log=ORIGIN,
                index=index,
                prev=prev,
                ref=os.urandom(16).hex(),
                entry_class="consent",
                recorded_at="2026-11-01T09:02:00Z",
                commitment=os.urandom(32).hex(),
            )
        )
        prev = leaf_hash(entries[-1]).hex()
    return entries


def write_log(prefix: Path, entries: Sequence[bytes]) -> Path:
    """The files of a log of these entries, below the directory `prefix`; returns it."""
    size = len(entries)
    row = [leaf_hash(entry) for entry in entries]
    root = root_of(row)
    level = 0
    for tile in tiles_for_size(size):
        if tile.level != level:
            # The next level's hashes are the roots of this level's full tiles.
            row, level = [root_of(row[at : at + 256]) for at in range(0, len(row) - 255, 256)], level + 1
        first = tile.n * 256
        write(prefix / tile.path(), b"".join(row[first : first + tile.width]))
        if level == 0:
            bundle = encode_bundle(entries[first : first + tile.width])
            write(prefix / Tile(ENTRIES, tile.n, tile.width).path(), bundle)
    write(prefix / "checkpoint", signed_checkpoint(Checkpoint(ORIGIN, size, root), KEY).encode())
    return prefix


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
