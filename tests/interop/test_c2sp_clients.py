"""Unmodified third-party clients accept what schemas prints, and refuse what is damaged."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.note import log_key
from tests.interop.third_party import check_with_third_party_clients, open_note_with_third_party
from tests.support.log_files import ORIGIN, VKEY, foreign_entries, served, write_log

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

VECTORS = Path(__file__).parents[2] / "schemas" / "vectors"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_clients_accept_a_directory_log(size: int, tmp_path: Path) -> None:
    write_log(tmp_path, foreign_entries(size))
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
    damaged = write_log(tmp_path, foreign_entries(600)) / path
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with served(tmp_path) as url, pytest.raises(AssertionError, match=refusal):
        check_with_third_party_clients(url, ORIGIN, VKEY, 600)


def test_clients_want_the_expected_size_and_key(tmp_path: Path) -> None:
    write_log(tmp_path, foreign_entries(257))
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
