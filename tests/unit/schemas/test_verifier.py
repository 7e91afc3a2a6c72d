"""verify.py as it lies in every bundle: what it is cut from, what it needs, and that it judges as schemas does."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from schemas.errors import ProofError
from schemas.vectors.bundle import generate
from schemas.vectors.bundle.generate import VKEY
from schemas.vectors.texts import LOG
from schemas.verifier import DIRECTORY, build, verifiers
from schemas.verify import verify_file
from tests.support.bundles import FOLDER, PIN_FILES

pytestmark = pytest.mark.unit

VERIFIER = DIRECTORY / "verify.py"
# Runs a script as `python -I` would, and fails it the moment it imports what a stranger may not have.
ALONE = """
import runpy, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {"cryptography", "_cffi_backend"}:
            raise ImportError("not at hand: " + name)
sys.meta_path.insert(0, Wall())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ALONE, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def pinned() -> list[str]:
    policy, roots, jwks, vkey = (FOLDER / name for name in PIN_FILES)
    return ["--vkey", vkey.read_text().strip(), "--policy", str(policy), "--roots", str(roots), "--jwks", str(jwks)]


@pytest.fixture(scope="module")
def built() -> Iterator[ModuleType]:
    """verify.py as a module of its own: nothing of ours is behind it."""
    spec = importlib.util.spec_from_file_location("built_verifier", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_file_is_what_the_modules_make() -> None:
    """Run `python -m schemas.verifier.build` when this fails."""
    assert VERIFIER.read_text(encoding="utf-8") == build.build()
    assert "verify.py" in verifiers()


def test_the_wall_of_these_tests_stands(tmp_path: Path) -> None:
    for module in ("orjson", "pydantic", "schemas.errors"):
        (tmp_path / "x.py").write_text(f"import {module}\n")
        assert "not at hand" in run(tmp_path / "x.py").stderr


def test_it_verifies_the_golden_bundle_with_nothing_but_cryptography() -> None:
    done = run(VERIFIER, FOLDER / "golden.zip", *pinned())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "Verified."
    assert "FAILED" not in done.stdout
    assert run(VERIFIER, FOLDER / "golden.zip").returncode == 0


def test_the_one_inside_a_bundle_verifies_the_folder_it_lies_in(tmp_path: Path) -> None:
    """Also the one that was put into the golden bundle when that was made."""
    with zipfile.ZipFile(FOLDER / "golden.zip") as file:
        file.extractall(tmp_path)
    done = run(tmp_path / "verify.py", *pinned(), cwd=tmp_path.parent)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Verified.")
    notice = next((tmp_path / "notices").glob("*.txt"))
    notice.write_text(notice.read_text().replace("?", "!"))
    done = run(tmp_path / "verify.py")
    assert (done.returncode, done.stdout.splitlines()[-2][:17]) == (1, "FAILED  2 manifes")


def test_it_judges_every_proof_vector_as_schemas_does(built: ModuleType) -> None:
    """Every mutated document is refused by the same step, with the same words; every happy path holds."""
    paths = sorted(p for p in generate.HERE.iterdir() if p.suffix in {".json", ".tlog-proof"} and p.stem != "golden")
    assert len(paths) > 150
    for path in paths:
        ours = verify_file(path, VKEY, origin=LOG)
        theirs = built.verify_file(path, VKEY, origin=LOG)
        assert [(s.number, s.name, s.outcome, s.text) for s in theirs] == [
            (s.number, s.name, s.outcome, s.text) for s in ours
        ]
        assert (ours[-1].outcome == "failed") == (not path.name.startswith("happy-path"))


@pytest.mark.parametrize("folder", ["checkpoints", "tlog-proof"])
def test_it_opens_log_formats_as_schemas_does(built: ModuleType, folder: str) -> None:
    """Signed notes and tlog-proofs of other makers, every mutation of them."""
    keys = json.loads((generate.HERE.parent / "keys.json").read_bytes())
    name, known = keys["log"]["name"], [built.parse_verifier_key(keys[role]["vkey"]) for role in ("log", "witness")]
    paths = sorted(p for p in (generate.HERE.parent / folder).iterdir() if p.suffix in {".txt", ".tlog-proof"})
    assert len(paths) > 50
    for path in paths:
        try:
            if folder == "checkpoints":
                built.open_checkpoint(path.read_bytes(), name, known)
            else:
                proof = built.parse_tlog_proof(path.read_bytes())
                head = built.open_checkpoint(proof.checkpoint, name, known[:1])
                built.verify_inclusion(built.leaf_hash(b"b"), proof.index, head.size, proof.path, head.root)
        except built.ProofError:
            held = False
        else:
            held = True
        assert held == path.name.startswith("happy-path"), path.name


def test_a_module_that_needs_more_cannot_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "ENTRY", ("schemas.canonical", "read_strict"))
    with pytest.raises(build.BuildError, match=r"^orjson is reached from main"):
        build.build()


def test_names_are_kept_apart() -> None:
    """Two modules may each have a private name; what stands after a dot is nobody's but its object's."""
    renamed = build._rename("def _read(x: int) -> int:\n    return self._read(_read(x)) + 1\n", {"_read": "_a_read"})
    assert renamed == "def _a_read(x: int) -> int:\n    return self._read(_a_read(x)) + 1\n"
    with pytest.raises(build.BuildError, match="f-string"):
        build._rename('text = f"{_read}"\n', {"_read": "_a_read"})


def test_no_error_class_is_shared_with_schemas(built: ModuleType) -> None:
    """Otherwise the tests above would compare a module with itself."""
    assert built.ProofError is not ProofError
