"""schemas.checkpoint: printing, signing and opening; the mutated notes are in tests/vectors."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, signed_checkpoint
from schemas.errors import CheckpointError
from schemas.merkle import EMPTY_ROOT, consistency_path, leaf_hash, root_of, verify_consistency
from schemas.note import KeyKind, VerifierKey, encode_base64, log_key, parse_verifier_key, sign_note
from schemas.vectors.generate import HERE as VECTORS
from tests.support import oracle

pytestmark = pytest.mark.unit

ORIGIN = "example.com/consent-log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = log_key(ORIGIN, KEY)
WITNESS = parse_verifier_key("witness.example.com/w1+969980cf+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X")
LEAVES = [leaf_hash(entry) for entry in (b"a", b"b", b"c")]
EMPTY = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
THREE = Checkpoint(ORIGIN, 3, root_of(LEAVES))


def test_the_empty_log_as_published() -> None:
    assert signed_checkpoint(EMPTY, KEY) == (
        "example.com/consent-log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— example.com/consent-log "
        "8onTWzCPTeSxd/Nde4Rsqz909cR3HQV0rSIIq6ZamVPZw5FKZtI3M4goZ0iiLZNNUGCNu8t6lTOvLvinpCorybiX8Ac=\n"
    )
    assert open_checkpoint(signed_checkpoint(EMPTY, KEY), ORIGIN, [LOG]) == EMPTY


def test_three_entries_as_published() -> None:
    assert THREE.text() == "example.com/consent-log\n3\nNmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=\n"
    assert parse_checkpoint(THREE.text()) == THREE
    cosigned = (VECTORS / "checkpoints" / "happy-path-cosigned.txt").read_bytes()
    assert open_checkpoint(cosigned, ORIGIN, [LOG, WITNESS]) == THREE
    assert cosigned.decode().startswith(signed_checkpoint(THREE, KEY))


def test_the_witness_request_as_published() -> None:
    """What a witness at size 2 is asked: old size, consistency path, blank line, our checkpoint."""
    path = consistency_path(2, 3, lambda level, n: root_of(LEAVES[n << level : (n + 1) << level]))
    verify_consistency(2, 3, path, root_of(LEAVES[:2]), THREE.root)
    body = "old 2\n" + "".join(f"{encode_base64(value)}\n" for value in path) + "\n" + signed_checkpoint(THREE, KEY)
    assert body.encode() == (VECTORS / "witness" / "add-checkpoint-2-3.txt").read_bytes()
    assert path == [LEAVES[2]]


def test_extension_lines_are_kept_and_not_signed_by_us() -> None:
    extended = Checkpoint(ORIGIN, 3, THREE.root, ("kept verbatim", "and \u00e9"))
    assert parse_checkpoint(extended.text()) == extended
    assert open_checkpoint(sign_note(extended.text(), ORIGIN, KEY), ORIGIN, [LOG]) == extended
    with pytest.raises(CheckpointError, match="not ours to sign"):
        signed_checkpoint(extended, KEY)


def test_only_the_log_itself_makes_a_checkpoint() -> None:
    cosigned = (VECTORS / "checkpoints" / "happy-path-cosigned.txt").read_bytes()
    with pytest.raises(CheckpointError, match="log's own key"):
        open_checkpoint(cosigned, ORIGIN, [WITNESS])
    # Not even a witness that goes by the log's own name.
    namesake = VerifierKey(ORIGIN, KeyKind.COSIGNATURE_V1, LOG.public_key)
    cosignature = oracle.cosignature_line(THREE.text(), ORIGIN, bytes(range(32)), 1767225600)
    with pytest.raises(CheckpointError, match="log's own key"):
        open_checkpoint(f"{THREE.text()}\n{cosignature}", ORIGIN, [LOG, namesake])
    # Another log's key signs what it likes, but not under this origin.
    other = log_key("example.com/other", KEY)
    with pytest.raises(CheckpointError, match="log's own key"):
        open_checkpoint(sign_note(THREE.text(), "example.com/other", KEY), ORIGIN, [LOG, other])
    renamed = Checkpoint("example.com/other", 3, THREE.root)
    with pytest.raises(CheckpointError, match="another log"):
        open_checkpoint(sign_note(renamed.text(), ORIGIN, KEY), ORIGIN, [LOG])


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 3, THREE.root, ()),
        ("two\nlines", 3, THREE.root, ()),
        ("tab\t", 3, THREE.root, ()),
        ("\ud800", 3, THREE.root, ()),
        (ORIGIN, -1, THREE.root, ()),
        (ORIGIN, 2**63, THREE.root, ()),
        (ORIGIN, 3, THREE.root[:31], ()),
        (ORIGIN, 3, b"", ()),
        (ORIGIN, 0, THREE.root, ()),
        (ORIGIN, 3, THREE.root, ("",)),
        (ORIGIN, 3, THREE.root, ("two\nlines",)),
    ],
)
def test_fields_that_no_text_can_carry(origin: str, size: int, root: bytes, extensions: tuple[str, ...]) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint(origin, size, root, extensions)
