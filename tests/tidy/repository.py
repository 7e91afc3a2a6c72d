"""The repository's own text files as (path, text) pairs, so that a house rule is a function over them.

Paths are relative to the root, with forward slashes. What tools download or generate is not ours and is left out.
"""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP_FOLDERS = (".ci", "bench", "deploy", "docs", "schemas", "services", "snippet", "tests")
TEXT_SUFFIXES = {".cfg", ".css", ".html", ".js", ".json", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".xml", ".yaml"}
TEXT_SUFFIXES |= {".yml", ".example", ".properties", ""}
# Cut from modules that keep the rules themselves (schemas.verifier.build); a test holds it to them.
GENERATED = {"schemas/verifier/verify.py"}
NOT_OURS = {"__pycache__", "libs", "libs.new", "node_modules", "results", "target", "vectors"}

# A rule takes a path and the file's text and returns one sentence for each place that breaks it.
Rule = Callable[[str, str], list[str]]


@cache
def all_files() -> tuple[tuple[str, str], ...]:
    """Every text file of ours, sorted by path."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in TOP_FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return tuple(
        (path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(found)
        if path.suffix in TEXT_SUFFIXES
        and path.name != "uv.lock"
        and path.relative_to(ROOT).as_posix() not in GENERATED
        and not NOT_OURS.intersection(path.relative_to(ROOT).parts)
    )


def select(suffix: str, *folders: str) -> list[tuple[str, str]]:
    """The files with this suffix, in these folders (all of the repository when none is named)."""
    wanted = tuple(f"{folder}/" for folder in folders)
    return [(path, text) for path, text in all_files() if path.endswith(suffix) and path.startswith(wanted or "")]


def violations(rule: Rule, files: Iterable[tuple[str, str]]) -> list[str]:
    """What breaks the rule, each line opening with the file's path."""
    return [f"{path}: {sentence}" for path, text in files for sentence in rule(path, text)]
