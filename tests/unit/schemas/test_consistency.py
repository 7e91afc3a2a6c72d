"""Two checkpoints that a stranger kept: consistent, not shown to be, or a fork; and the document with the path."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.consistency import (
    ConsistencyProof,
    consistency_document,
    open_both,
    origin_of,
    parse_consistency,
    verify_with_proof,
    verify_with_tiles,
)
from schemas.errors import CheckpointError, LogForked, ProofError
from schemas.mirror import ReadFile
from schemas.note import log_key, parse_verifier_key
from tests.support import oracle
from tests.support.log_files import KEY, ORIGIN, VKEY, foreign_entries, write_log

pytestmark = pytest.mark.unit

KNOWN = [parse_verifier_key(VKEY)]
LEAVES = [oracle.leaf(entry) for entry in foreign_entries(600)]
SIZES = (0, 1, 2, 255, 256, 257, 300, 511, 512, 599, 600)


def head(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, oracle.mth(leaves[:size]))


def proof(old: int, new: int) -> ConsistencyProof:
    document = consistency_document("one", ORIGIN, old, new, oracle.proof(old, LEAVES[:new]), "the\nnote")
    return parse_consistency(document)


def reader(directory: Path, size: int, changed: int | None = None) -> ReadFile:
    """The files of a log; entry `changed` differs from the vector's."""
    entries = foreign_entries(size)
    if changed is not None:
        entries[changed] = b"changed"
    write_log(directory, entries)

    def read(path: str) -> bytes | None:
        file = directory / path
        return file.read_bytes() if file.is_file() else None

    return read


@pytest.mark.parametrize("new", SIZES)
def test_every_growth_verifies_by_proof_and_by_tiles(new: int, tmp_path: Path) -> None:
    of_its_size, of_600 = reader(tmp_path / "then", new), reader(tmp_path / "now", 600)
    for old in (size for size in SIZES if size <= new):
        verify_with_proof(head(old), head(new), proof(old, new))
        # Tiles as they were at that size, and those of a mirror that has grown since.
        expected = len(oracle.proof(old, LEAVES[:new]))
        assert verify_with_tiles(head(old), head(new), of_its_size) == expected
        assert verify_with_tiles(head(old), head(new), of_600) == expected


def test_both_notes_are_opened_under_the_logs_keys() -> None:
    old, new = (signed_checkpoint(head(size), KEY).encode() for size in (3, 5))
    assert open_both(old, new, origin=ORIGIN, vkeys=KNOWN) == (head(3), head(5))
    second = Ed25519PrivateKey.generate()
    rotated = signed_checkpoint(head(6), second).encode()
    with pytest.raises(CheckpointError):
        open_both(old, rotated, origin=ORIGIN, vkeys=KNOWN)
    keys = [*KNOWN, log_key(ORIGIN, second)]
    assert origin_of(keys) == ORIGIN
    assert open_both(old, rotated, origin=ORIGIN, vkeys=keys)[1].size == 6
    with pytest.raises(CheckpointError):
        open_both(old, new, origin="example.com/other", vkeys=KNOWN)
    with pytest.raises(ProofError, match="not those of one log"):
        origin_of([*KNOWN, log_key("example.com/other", second)])


def test_two_roots_for_one_size_are_a_fork() -> None:
    other = Checkpoint(ORIGIN, 5, oracle.mth(LEAVES[1:6]))
    notes = [signed_checkpoint(checkpoint, KEY).encode() for checkpoint in (head(5), other)]
    with pytest.raises(LogForked, match="two different trees of the size 5"):
        open_both(*notes, origin=ORIGIN, vkeys=KNOWN)


def test_tiles_that_were_signed_and_do_not_hold_the_older_tree_are_a_fork(tmp_path: Path) -> None:
    for old in (1, 255, 256, 300, 512):
        read = reader(tmp_path / str(old), 600, changed=0)
        forked = Checkpoint(ORIGIN, 600, oracle.mth([oracle.leaf(b"changed"), *LEAVES[1:]]))
        with pytest.raises(LogForked):
            verify_with_tiles(head(old), forked, read)


def test_tiles_of_something_else_convict_nobody(tmp_path: Path) -> None:
    read = reader(tmp_path, 600, changed=0)
    with pytest.raises(ProofError, match="not those of the newer checkpoint") as caught:
        verify_with_tiles(head(300), head(600), read)
    assert not isinstance(caught.value, LogForked)


def test_the_smaller_comes_first(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match="smaller checkpoint first") as caught:
        verify_with_tiles(head(600), head(300), reader(tmp_path, 600))
    assert not isinstance(caught.value, LogForked)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (proof(300, 599), "other sizes"),
        (proof(299, 600), "other sizes"),
        (ConsistencyProof("example.com/other", 300, 600, proof(300, 600).path, ""), "another log"),
        (ConsistencyProof(ORIGIN, 300, 600, proof(300, 600).path[:-1], ""), "too short"),
        (ConsistencyProof(ORIGIN, 300, 600, (*proof(300, 600).path, bytes(32)), ""), "too long"),
        (ConsistencyProof(ORIGIN, 300, 600, (bytes(32), *proof(300, 600).path[1:]), ""), "old root"),
        (ConsistencyProof(ORIGIN, 300, 600, (), ""), "empty"),
    ],
)
def test_a_proof_that_does_not_fit(given: ConsistencyProof, what: str) -> None:
    with pytest.raises(ProofError, match=what):
        verify_with_proof(head(300), head(600), given)


def _document(**changes: Any) -> bytes:
    value = json.loads(consistency_document("one", ORIGIN, 300, 600, [bytes(32)], "note\n"))
    return json.dumps({name: item for name, item in {**value, **changes}.items() if item is not Ellipsis}).encode()


GOOD_HASH = oracle.b64(bytes(32))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff",
        _document(more=1),
        _document(path=...),
        _document(path=None),
        _document(path=[None]),
        _document(path=[GOOD_HASH] * 65),
        _document(path=[GOOD_HASH[:-4]]),
        _document(path=[GOOD_HASH.replace("A=", "B=")]),
        _document(path=[GOOD_HASH + "\n"]),
        _document(origin=1),
        _document(checkpoint=None),
        _document().replace(b'"from": 300', b'"from": "300"'),
        _document().replace(b'"from": 300', b'"from": true'),
        _document().replace(b'"from": 300', b'"from": -1'),
        _document().replace(b'"from": 300', b'"from": 300.0'),
        _document().replace(b'"from": 300', b'"from": 0300'),
        _document().replace(b'"from": 300', b'"from": 300, "from": 300'),
        _document().replace(b'"to": 600', b'"to": 9223372036854775808'),
        b" " * 70_000,
    ],
)
def test_a_document_is_read_strictly(raw: bytes) -> None:
    with pytest.raises(ProofError):
        parse_consistency(raw)


def test_a_document_reads_back() -> None:
    assert parse_consistency(_document()) == ConsistencyProof(ORIGIN, 300, 600, (bytes(32),), "note\n")
