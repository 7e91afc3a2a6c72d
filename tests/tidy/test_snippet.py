"""The committed snippet is what its sources build, small enough, and within the house rules of its own language."""

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tidy.repository import ROOT

pytestmark = pytest.mark.tidy

SNIPPET = ROOT / "snippet"
DIST = SNIPPET / "dist"
CORE_BYTES_MAX = 6144
MODULE_LINES_MAX = 300
SOURCES = sorted((SNIPPET / "src").rglob("*.js"))


def build(directory: Path, source: Path = SNIPPET) -> "subprocess.CompletedProcess[str]":
    """Build into a directory; node comes from .venv or the system."""
    node = shutil.which("node")
    assert node is not None, "no node: run make setup"
    assert (SNIPPET / "node_modules" / "esbuild").is_dir(), "no esbuild: run make setup"
    return subprocess.run([node, source / "build.mjs", directory], check=False, capture_output=True, text=True)


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_the_committed_files_are_what_the_sources_build(tmp_path: Path) -> None:
    built = build(tmp_path)
    assert built.returncode == 0, built.stderr
    version = json.loads((SNIPPET / "package.json").read_bytes())["version"]
    made, kept = contents(tmp_path), contents(DIST)
    manifests = [json.loads(files.pop("manifest.json")) for files in (made, kept)]
    for manifest in manifests:
        for file in manifest["files"].values():
            file.pop("gzip")  # by a byte or two the compressor's own
    assert manifests[0] == manifests[1], "run make snippet"
    assert made == {name: content for name, content in kept.items() if name.startswith(version)}, "run make snippet"


def test_the_core_is_small() -> None:
    version = json.loads((DIST / "manifest.json").read_bytes())["version"]
    assert len(gzip.compress((DIST / version / "sayso.js").read_bytes(), 9)) <= CORE_BYTES_MAX


def test_a_core_that_outgrows_its_limit_is_not_built(tmp_path: Path) -> None:
    source = tmp_path / "snippet"
    shutil.copytree(SNIPPET, source, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (source / "node_modules").symlink_to(SNIPPET / "node_modules")
    main = source / "src" / "core" / "main.js"
    words = " ".join(f"{number * number * number:x}" for number in range(1000))
    main.write_text(f"{main.read_text()}\nwindow.more = {words!r};\n")
    refused = build(tmp_path / "dist", source)
    assert refused.returncode == 1
    assert "larger than 6144 bytes" in refused.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(SNIPPET).as_posix())
def test_a_module_says_what_it_is_and_stays_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = next(number for number, line in enumerate(lines) if not line.startswith("//"))
    assert 1 <= opening <= 4, "open with 1 to 4 comment lines: what it is, which invariant"
    assert len(lines) <= MODULE_LINES_MAX


def test_nothing_in_the_snippet_evaluates_text_or_writes_markup() -> None:
    banned = re.compile(r"\beval\(|new Function|innerHTML *\+?=[^=]|insertAdjacentHTML|document\.write")
    found = [f"{path}: {match[0]}" for path in SOURCES for match in [banned.search(path.read_text())] if match]
    assert not found
