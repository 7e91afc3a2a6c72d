"""schemas.proof: the tlog-proof file of the published example; the mutated files are in tests/vectors."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.errors import CheckpointError, ProofError
from schemas.merkle import inclusion_path, leaf_hash, root_of
from schemas.note import log_key
from schemas.proof import TlogProof, parse_tlog_proof, verify_tlog_proof
from schemas.vectors.generate import HERE as VECTORS

pytestmark = pytest.mark.unit

ORIGIN = "example.com/consent-log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = str(log_key(ORIGIN, KEY))
LEAVES = [leaf_hash(entry) for entry in (b"a", b"b", b"c")]
CHECKPOINT = Checkpoint(ORIGIN, 3, root_of(LEAVES))
NOTE = signed_checkpoint(CHECKPOINT, KEY)


def proof_of(index: int) -> TlogProof:
    path = inclusion_path(index, 3, lambda level, n: root_of(LEAVES[n << level : (n + 1) << level]))
    return TlogProof(index, tuple(path), NOTE)


def test_the_published_file() -> None:
    content = (VECTORS / "tlog-proof" / "happy-path.tlog-proof").read_text(encoding="utf-8")
    assert content.startswith(
        "c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nindex 1\nAippeebat6pa5MPl5F9+l3ESp+Y1k4INvsHsc4ok+Tw=\n"
        "WX/LMSgtNGVMIA00GPylcFxkjr8ybsc9jd7xGEH4dtg=\n\nexample.com/consent-log\n3\n"
        "NmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=\n\n— example.com/consent-log "
    )
    proof = parse_tlog_proof(content)
    assert (proof.index, proof.path, proof.extra) == (1, (LEAVES[0], LEAVES[2]), b"hello")
    assert proof.text() == content
    assert verify_tlog_proof(content, b"b", ORIGIN, VKEY) == CHECKPOINT


@pytest.mark.parametrize(("index", "entry"), [(0, b"a"), (1, b"b"), (2, b"c")])
def test_each_entry_verifies_at_its_own_index_only(index: int, entry: bytes) -> None:
    content = proof_of(index).text()
    assert verify_tlog_proof(content.encode(), entry, ORIGIN, VKEY) == CHECKPOINT
    for other in {b"a", b"b", b"c", b"", entry + b"\n"} - {entry}:
        with pytest.raises(ProofError, match="does not lead to the root"):
            verify_tlog_proof(content, other, ORIGIN, VKEY)


def test_a_log_of_one_entry_has_an_empty_path() -> None:
    note = signed_checkpoint(Checkpoint(ORIGIN, 1, LEAVES[0]), KEY)
    content = TlogProof(0, (), note).text()
    assert content == "c2sp.org/tlog-proof@v1\nindex 0\n\n" + note
    assert verify_tlog_proof(content, b"a", ORIGIN, VKEY).size == 1


@pytest.mark.parametrize(
    "content", ["c2sp.org/tlog-proof@v1\nindex 0", "c2sp.org/tlog-proof@v1\nindex 0\n", "\n\n" + NOTE, NOTE]
)
def test_what_is_not_a_proof_file(content: str) -> None:
    with pytest.raises(ProofError, match="not a tlog-proof"):
        parse_tlog_proof(content)


def test_the_checkpoint_must_be_this_logs() -> None:
    content = proof_of(1).text()
    other = str(log_key(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32))))
    for origin, vkey in ((ORIGIN, other), ("example.com/other", VKEY), (ORIGIN, "not a key")):
        with pytest.raises(CheckpointError):
            verify_tlog_proof(content, b"b", origin, vkey)


def test_a_path_of_a_larger_tree_does_not_fit_this_checkpoint() -> None:
    """The size comes from the checkpoint in the file, so an old path with a new checkpoint is refused."""
    four = [*LEAVES, leaf_hash(b"d")]
    path = inclusion_path(2, 4, lambda level, n: root_of(four[n << level : (n + 1) << level]))
    with pytest.raises(ProofError, match="has 2 hashes where this place in the tree needs 1"):
        verify_tlog_proof(TlogProof(2, tuple(path), NOTE).text(), b"c", ORIGIN, VKEY)


@pytest.mark.parametrize(
    ("index", "path", "checkpoint", "extra"),
    [
        (-1, (), NOTE, None),
        (2**63, (), NOTE, None),
        (0, (b"short",), NOTE, None),
        (0, (bytes(32),) * 64, NOTE, None),
        (0, (), NOTE, b""),
        (0, (), "\ud800", None),
        (0, (), "tab\t\n", None),
    ],
)
def test_fields_that_no_file_can_carry(
    index: int, path: tuple[bytes, ...], checkpoint: str, extra: bytes | None
) -> None:
    with pytest.raises(ProofError):
        TlogProof(index, path, checkpoint, extra)
