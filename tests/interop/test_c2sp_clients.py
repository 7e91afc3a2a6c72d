"""Unmodified third-party clients accept what schemas prints, and refuse what is damaged."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.merkle import leaf_hash, root_of
from schemas.note import log_key
from schemas.tiles import ENTRIES, Tile, encode_bundle, tiles_for_size
from tests.interop.third_party import check_with_third_party_clients, open_note_with_third_party

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

ORIGIN = "example.com/consent-log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = str(log_key(ORIGIN, KEY))
VECTORS = Path(__file__).parents[2] / "schemas" / "vectors"


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
    with QuietServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(directory))) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/logs/one"
        finally:
            server.shutdown()
            thread.join()


def write_log(directory: Path, size: int) -> Path:
    """A directory log of entries `{"n":i}` made with schemas alone, below the prefix logs/one."""
    prefix = directory / "logs" / "one"
    prefix.mkdir(parents=True)
    entries = [b'{"n":%d}' % i for i in range(size)]
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


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_clients_accept_a_directory_log(size: int, tmp_path: Path) -> None:
    write_log(tmp_path, size)
    with served(tmp_path) as url:
        report = check_with_third_party_clients(url, ORIGIN, VKEY, size)
    assert f"checkpoint: size {size}, signature verified" in report
    assert "all tiles and entries verified" in report
    # An empty log has nothing to prove; every other must have been proved by both clients.
    assert len(re.findall("[1-9][0-9]* inclusion", report)) == (0 if size == 0 else 2)


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("checkpoint", "checkpoint:"),
        ("tile/0/001", "tessera fsck:"),
        ("tile/1/000.p/2", "tessera fsck:"),
        ("tile/entries/002.p/88", "tessera fsck:"),
    ],
)
def test_clients_see_one_flipped_bit(path: str, refusal: str, tmp_path: Path) -> None:
    """The check can fail: one bit of any kind of file is enough."""
    damaged = write_log(tmp_path, 600) / path
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with served(tmp_path) as url, pytest.raises(AssertionError, match=refusal):
        check_with_third_party_clients(url, ORIGIN, VKEY, 600)


def test_clients_want_the_expected_size_and_key(tmp_path: Path) -> None:
    write_log(tmp_path, 257)
    other = str(log_key(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32))))
    with served(tmp_path) as url:
        with pytest.raises(AssertionError, match="size is 257, expected 256"):
            check_with_third_party_clients(url, ORIGIN, VKEY, 256)
        with pytest.raises(AssertionError, match="checkpoint:"):
            check_with_third_party_clients(url, ORIGIN, other, 257)


def test_clients_open_the_cosigned_checkpoint_of_the_vectors() -> None:
    witness = "witness.example.com/w1+969980cf+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
    report = open_note_with_third_party(VECTORS / "checkpoints" / "happy-path-cosigned.txt", [VKEY, witness])
    assert "2 signatures verified" in report
    with pytest.raises(AssertionError, match=r"invalid signature"):
        open_note_with_third_party(VECTORS / "checkpoints" / "cosignature-bit-flip.txt", [VKEY, witness])
