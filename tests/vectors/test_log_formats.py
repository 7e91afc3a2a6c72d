"""Every file of the log formats in schemas/vectors, one test each: happy paths hold, mutations are refused."""

import json
from pathlib import Path

import pytest

from schemas.checkpoint import open_checkpoint
from schemas.errors import CheckpointError, ProofError
from schemas.merkle import verify_consistency, verify_inclusion
from schemas.note import VerifierKey, parse_verifier_key
from schemas.proof import parse_tlog_proof, verify_tlog_proof
from schemas.vectors import generate

pytestmark = pytest.mark.unit

VECTORS = generate.HERE
KEYS = json.loads((VECTORS / "keys.json").read_bytes())
KNOWN: list[VerifierKey] = [
    parse_verifier_key(KEYS["log"]["vkey"]),
    parse_verifier_key(KEYS["witness"]["vkey"]),
    parse_verifier_key((VECTORS / "checkpoints" / "ml-dsa-44.vkey").read_text().strip()),
]
ORIGIN: str = KEYS["log"]["name"]


def files(pattern: str) -> list[Path]:
    found = sorted(VECTORS.glob(pattern))
    assert found, f"no vector matches {pattern}"
    return found


def name_of(path: Path) -> str:
    return path.stem


def test_files_are_what_the_script_makes() -> None:
    """Run `python -m schemas.vectors.generate` when this fails, and read the difference before committing it."""
    made = generate.generate()
    for name, content in made.items():
        assert (VECTORS / name).read_bytes() == content, name
    stored = {path.relative_to(VECTORS).as_posix() for folder in generate.FOLDERS for path in files(f"{folder}/*")}
    assert stored == {name for name in made if "/" in name} | set(generate.NOT_GENERATED)


@pytest.mark.parametrize("path", files("inclusion/*.json"), ids=name_of)
def test_inclusion(path: Path) -> None:
    vector = json.loads(path.read_bytes())
    assert vector["valid"] == path.stem.endswith("happy-path")
    arguments = (
        bytes.fromhex(vector["leaf_hash"]),
        vector["index"],
        vector["size"],
        [bytes.fromhex(value) for value in vector["path"]],
        bytes.fromhex(vector["root"]),
    )
    if vector["valid"]:
        verify_inclusion(*arguments)
    else:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)


@pytest.mark.parametrize("path", files("consistency/*.json"), ids=name_of)
def test_consistency(path: Path) -> None:
    vector = json.loads(path.read_bytes())
    assert vector["valid"] == path.stem.endswith("happy-path")
    arguments = (
        vector["old_size"],
        vector["new_size"],
        [bytes.fromhex(value) for value in vector["path"]],
        bytes.fromhex(vector["old_root"]),
        bytes.fromhex(vector["new_root"]),
    )
    if vector["valid"]:
        verify_consistency(*arguments)
    else:
        with pytest.raises(ProofError):
            verify_consistency(*arguments)


@pytest.mark.parametrize("path", files("checkpoints/*.txt"), ids=name_of)
def test_checkpoint(path: Path) -> None:
    note = path.read_bytes()
    if path.stem.startswith("happy-path"):
        checkpoint = open_checkpoint(note, ORIGIN, KNOWN)
        assert note.startswith(checkpoint.text().encode() + b"\n")
    else:
        with pytest.raises(CheckpointError):
            open_checkpoint(note, ORIGIN, KNOWN)


@pytest.mark.parametrize("path", files("tlog-proof/*.tlog-proof"), ids=name_of)
def test_tlog_proof(path: Path) -> None:
    content = path.read_bytes()
    if path.stem.startswith("happy-path"):
        assert verify_tlog_proof(content, b"b", ORIGIN, KEYS["log"]["vkey"]).size == 3
        assert parse_tlog_proof(content).text().encode() == content
    else:
        with pytest.raises(ProofError):
            verify_tlog_proof(content, b"b", ORIGIN, KEYS["log"]["vkey"])
