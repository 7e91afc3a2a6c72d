"""Proof documents: every vector by its step, both spellings, keys, and the verifier's command line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.bundle import PROOF_BYTES_MAX, parse_bundle, verify_bare_proof, verify_bundle
from schemas.errors import ProofError
from schemas.merkle import leaf_hash
from schemas.proof import parse_tlog_proof
from schemas.record import PART_NAMES, commitment, part_digest
from schemas.steps import Step
from schemas.vectors.bundle import generate
from schemas.vectors.bundle.generate import VKEY
from schemas.vectors.texts import LOG, STRANGER_SEED
from schemas.verify import main, verify_file
from tests.support import oracle

pytestmark = pytest.mark.unit

FOLDER = generate.HERE
STEPS = ["document", "key", "checkpoint", "entry", "inclusion", "commitment", "event", "notice"]


def vectors(pattern: str) -> list[Path]:
    found = sorted(path for path in FOLDER.glob(pattern) if path.name != "golden.json" and path.suffix != ".py")
    assert found, f"no vector matches {pattern}"
    return found


def name_of(path: Path) -> str:
    return path.name


def test_files_are_what_the_script_makes() -> None:
    """Run `python -m schemas.vectors.bundle.generate` when this fails, and read the difference before committing it."""
    made = generate.generate()
    assert {path.name: path.read_bytes() for path in [*vectors("*-*"), FOLDER / "golden.json"]} == made


@pytest.mark.parametrize("path", vectors("happy-path*"), ids=name_of)
def test_happy_paths_verify_and_read_back(path: Path) -> None:
    steps: list[Step] = []
    bundle = verify_bundle(path.read_bytes(), vkey=VKEY, origin=LOG, done=steps.append)
    assert [step.name for step in steps] == STEPS
    assert [step.number for step in steps] == list(range(1, 9))
    assert parse_bundle(bundle.json()) == parse_bundle(bundle.tlog_proof().encode()) == bundle
    if path.suffix == ".tlog-proof":
        assert bundle.tlog_proof().encode() == path.read_bytes()
    elif path.stem != "happy-path-indented":
        assert bundle.json() == path.read_bytes()


@pytest.mark.parametrize("path", vectors("[0-9]-*"), ids=name_of)
def test_mutated_documents_are_refused_by_their_step(path: Path) -> None:
    content = path.read_bytes()
    with pytest.raises(ProofError, match=rf"^step {path.name[0]} ") as refused:
        verify_bundle(content, vkey=VKEY, origin=LOG)
    steps = verify_file(path, VKEY, origin=LOG)
    assert [step.outcome for step in steps[:-1]].count("failed") == 0
    assert (steps[-1].outcome, steps[-1].number) == ("failed", int(path.name[0]))
    # The message shows nothing of what was refused.
    assert not set(str(refused.value).split()) & {
        word for word in content.decode("utf-8", "replace").replace('"', " ").split() if len(word) > 12
    }


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("happy-path.json", []),
        ("happy-path-what-only.json", []),
        ("happy-path-no-part.json", [7]),
        ("happy-path-words-left-out.json", [8]),
        ("happy-path-words-unknown-when-recorded.json", [8]),
        ("happy-path-no-notice.json", []),
    ],
)
def test_what_a_proof_leaves_open_is_said(path: str, steps: list[int]) -> None:
    assert [step.number for step in verify_file(FOLDER / path, VKEY) if step.outcome == "remark"] == steps


def test_a_key_from_the_proof_itself_is_said() -> None:
    """Without the reader's own key a forgery is consistent in itself: the remark is all that stands against it."""
    forged = FOLDER / "2-forged-log-with-a-key-of-its-own.json"
    steps = verify_file(forged)
    assert steps[-1].outcome == "ok"
    assert steps[1].outcome == "remark"
    stranger = oracle.vkey(LOG, 1, oracle.public_key(STRANGER_SEED))
    assert stranger in steps[1].text
    assert verify_file(forged, stranger)[1].outcome == "ok"
    assert verify_file(forged, VKEY)[-1].outcome == "failed"
    assert verify_file(forged, origin="example.com/other-log")[-1].number == 2


def test_golden_values() -> None:
    golden: dict[str, Any] = json.loads((FOLDER / "golden.json").read_bytes())
    digests = [
        part_digest(name, bytes.fromhex(golden["salts"][name]), golden["parts"][name].encode()) for name in PART_NAMES
    ]
    assert [digest.hex() for digest in digests] == [golden["digests"][name] for name in PART_NAMES]
    assert commitment(*digests).hex() == golden["commitment"]
    assert json.loads(golden["entry"])["commitment"] == golden["commitment"]
    assert leaf_hash(golden["entry"].encode()).hex() == golden["leaf_hash"]


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(ProofError, match="larger than a proof can be"):
        parse_bundle(b" " * (PROOF_BYTES_MAX + 1))


# --- a tlog-proof whose entry comes from elsewhere -----------------------------------------------------------------


def bare(name: str = "happy-path.tlog-proof") -> tuple[bytes, bytes]:
    raw = (FOLDER / name).read_bytes()
    return raw, parse_bundle((FOLDER / "happy-path.json").read_bytes()).entry


def test_an_entry_from_elsewhere() -> None:
    raw, entry = bare("1-extra-missing.tlog-proof")
    steps: list[Step] = []
    assert verify_bare_proof(raw, entry, vkey=VKEY, done=steps.append).size == generate.SIZE
    assert [step.outcome for step in steps] == ["ok"] * 5
    raw, entry = bare()
    steps.clear()
    assert parse_tlog_proof(raw).extra is not None
    verify_bare_proof(raw, entry, vkey=VKEY, done=steps.append)
    assert steps[0].outcome == "remark"


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [(b'"v":1', b'"v":2', 4), (b'"index":2', b'"index":1', 4), (b"0001020304", b"0001020305", 5), (b"}", b"} ", 4)],
)
def test_another_entry_is_refused(old: bytes, new: bytes, step: int) -> None:
    raw, entry = bare()
    with pytest.raises(ProofError, match=f"^step {step} "):
        verify_bare_proof(raw, entry.replace(old, new), vkey=VKEY)


def test_another_key_or_origin_is_refused() -> None:
    raw, entry = bare()
    for vkey, origin, step in ((VKEY + "=", None, 2), (VKEY, "example.com/other-log", 3)):
        with pytest.raises(ProofError, match=f"^step {step} "):
            verify_bare_proof(raw, entry, vkey=vkey, origin=origin)


# --- the command line ----------------------------------------------------------------------------------------------


def test_exit_status_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = tmp_path / "entry"
    entry.write_bytes(bare()[1])
    happy, refused = str(FOLDER / "happy-path.json"), str(FOLDER / "6-decision-changed.json")
    without_extra = str(FOLDER / "1-extra-missing.tlog-proof")
    for arguments, status, said in (
        ([happy, "--vkey", VKEY], 0, "\nVerified.\n"),
        ([happy, "--vkey", VKEY, "--origin", LOG], 0, "\nVerified.\n"),
        ([happy], 0, "compare it with the published key"),
        ([refused, "--vkey", VKEY], 1, "FAILED  6 commitment: "),
        ([refused], 1, "NOT VERIFIED"),
        ([without_extra, "--vkey", VKEY], 1, "--entry"),
        ([without_extra, "--vkey", VKEY, "--entry", str(entry)], 0, "5 inclusion"),
        ([without_extra, "--entry", str(entry)], 2, "--vkey"),
        ([str(tmp_path / "none")], 2, "cannot read"),
        ([str(tmp_path)], 1, "there is no manifest.json"),
    ):
        assert main(arguments) == status, arguments
        printed = capsys.readouterr()
        assert said in printed.out + printed.err, arguments
        assert "ève" not in printed.out


def test_it_runs_on_almost_nothing() -> None:
    """An auditor's machine has Python, cryptography and orjson: nothing else may be imported on the way."""
    program = (
        "import sys, schemas.verify as v\n"
        f"assert v.main([{str(FOLDER / 'happy-path.json')!r}, '--vkey', {VKEY!r}]) == 0\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(tops - set(sys.stdlib_module_names) - {'schemas', '__main__'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))
    assert not {name for name in loaded if not name.startswith(("_", "sitecustomize"))} - {
        "cffi",
        "cryptography",
        "orjson",
    }
