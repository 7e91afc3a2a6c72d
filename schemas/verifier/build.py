"""Cuts verify.py out of schemas: `python -m schemas.verifier.build` writes it, a test fails when it has drifted.

Follows names from `main` of schemas.verify through our modules and copies every definition that is reached, with its
comments, into one file. Invariant: that file imports the standard library and `cryptography` and nothing else.
"""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.verifier import DIRECTORY

ROOT: Final = DIRECTORY.parents[1]
ENTRY: Final = ("schemas.verify", "main")
THIRD_PARTY: Final = frozenset({"cryptography"})

_HEADER: Final = '''\
#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Made by `python -m schemas.verifier.build` from the modules named below: change those, not this file.
"""Verifies a proof bundle of Sayso (sayso-bundle/v1), offline, with Python 3.11 or later and `cryptography` alone.

    python verify.py                              verify the folder that this file lies in
    python verify.py bundle.zip                   verify a bundle; a proof (.json, .tlog-proof) works as well
    python verify.py bundle.zip --vkey KEY ...    hold it to keys that you have from elsewhere

The steps are those of docs/bundle-format.md. Exit status: 0 verified, 1 not verified, 2 cannot be read.
"""
'''
_FOOTER: Final = """

if __name__ == "__main__":
    sys.exit(main(here=Path(__file__).resolve().parent))
"""


@dataclass(frozen=True, slots=True)
class _Definition:
    """One top-level statement with the comments right above it."""

    place: int
    source: str
    tree: ast.stmt


@dataclass(frozen=True, slots=True)
class _Module:
    """A module of ours. ours: local name -> module it comes from. foreign: local name -> (module, name there)."""

    name: str
    about: str
    definitions: Mapping[str, _Definition]
    ours: Mapping[str, str]
    foreign: Mapping[str, tuple[str, str | None]]


class BuildError(Exception):
    """The verifier cannot be cut as the modules stand; the message says what to change."""


def build() -> str:
    """The text of verify.py. Raises BuildError."""
    modules: dict[str, _Module] = {}
    reached: dict[str, set[str]] = defaultdict(set)
    foreign: dict[str, tuple[str, str | None]] = {"sys": ("sys", None), "Path": ("pathlib", "Path")}
    # 1. Follow every name from `main`.
    todo = [ENTRY]
    while todo:
        name, wanted = todo.pop()
        if wanted in reached[name]:
            continue
        reached[name].add(wanted)
        module = modules.get(name) or modules.setdefault(name, _read(name))
        if wanted not in module.definitions:
            raise BuildError(f"{name} does not define {wanted}: import it from where it is defined")
        for used in _names(module.definitions[wanted].tree):
            if used in module.definitions:
                todo.append((name, used))
            elif used in module.ours:
                todo.append((module.ours[used], used))
            elif used in module.foreign and foreign.setdefault(used, module.foreign[used]) != module.foreign[used]:
                raise BuildError(f"{used} is imported from two places: {foreign[used]} and {name}")
    # 2. Two modules may each have a private name: all but the first get their module's name before it.
    order = _in_order(modules)
    renamed = _collisions(order, reached, foreign)
    # 3. Write each module's share in the order of its own lines.
    pieces = [_HEADER, _imports(foreign)]
    for module in order:
        pieces.append(f"\n\n# {'-' * 117}\n# {module.name}: {module.about}\n# {'-' * 117}")
        written = sorted({module.definitions[name] for name in reached[module.name]}, key=lambda d: d.place)
        before: ast.stmt | None = None
        for definition in written:
            lines = 1 if isinstance(before, _SHORT) and isinstance(definition.tree, _SHORT) else 3
            pieces.append("\n" * lines + _rename(definition.source, renamed.get(module.name, {})))
            before = definition.tree
    return "".join(pieces) + "\n" + _FOOTER


_SHORT: Final = (ast.Assign, ast.AnnAssign)


def _read(name: str) -> _Module:
    path = ROOT / f"{name.replace('.', '/')}.py"
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    definitions: dict[str, _Definition] = {}
    ours: dict[str, str] = {}
    foreign: dict[str, tuple[str, str | None]] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            foreign |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (node.module or "").startswith("schemas"):
                    ours[alias.name] = node.module or ""
                    if alias.asname is not None:
                        raise BuildError(f"{name} imports {alias.name} under another name")
                else:
                    foreign[alias.asname or alias.name] = node.module or "", alias.name
        else:
            definition = _Definition(node.lineno, _source(lines, node), node)
            definitions |= dict.fromkeys(_defined(node), definition)
    about = (ast.get_docstring(tree) or "").splitlines()[0]
    return _Module(name, about, definitions, ours, foreign)


def _source(lines: list[str], node: ast.stmt) -> str:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    while first and lines[first - 1].startswith("#") and not lines[first - 1].startswith("# ---"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _names(tree: ast.AST) -> set[str]:
    """Every name used, those inside quoted annotations too; locals among them do no harm."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[A-Z]\w+", node.value):
            found.add(node.value)
    return found


def _in_order(modules: Mapping[str, _Module]) -> list[_Module]:
    """Each module after those that it imports, so that constants and base classes are there when they are needed."""
    order: list[_Module] = []

    def visit(name: str) -> None:
        module = modules[name]
        if module not in order:
            for other in sorted(set(module.ours.values()) & set(modules)):
                visit(other)
            order.append(module)

    visit(ENTRY[0])
    return order


def _collisions(
    order: list[_Module], reached: Mapping[str, set[str]], foreign: Mapping[str, object]
) -> dict[str, dict[str, str]]:
    """Module -> name in its source -> name in the file, for names that are not kept."""
    taken = set(foreign)
    renamed: dict[str, dict[str, str]] = defaultdict(dict)
    for module in order:
        for name in sorted(reached[module.name]):
            if name in taken:
                prefix = module.name.rpartition(".")[2]
                renamed[module.name][name] = f"_{prefix}{name}" if name.startswith("_") else f"{prefix}_{name}"
            taken.add(renamed[module.name].get(name, name))
    # Whoever imports a name gets it under its new one. No module renames what it imports, so one pass is enough.
    for module in order:
        for name, source in module.ours.items():
            if name in renamed.get(source, {}):
                renamed[module.name][name] = renamed[source][name]
    return renamed


def _rename(source: str, names: Mapping[str, str]) -> str:
    """The source with some names replaced, wherever they do not follow a dot."""
    if not names:
        return source
    # Before Python 3.12 an f-string is one token, and what stands in it would keep its old name.
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr) and (inside := _names(node) & set(names)):
            raise BuildError(f"{', '.join(inside)} stands in an f-string, and another module has one too: rename it")
    lines = source.splitlines(keepends=True)
    after_dot = False
    places = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in names and not after_dot:
            places.append((*token.start, token.string))
        after_dot = token.string == "."
    for row, column, old in reversed(places):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + names[old] + line[column + len(old) :]
    return "".join(lines)


def _imports(foreign: Mapping[str, tuple[str, str | None]]) -> str:
    whole, parts = set(), defaultdict(set)
    for local, (module, name) in foreign.items():
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in THIRD_PARTY:
            raise BuildError(f"{module} is reached from main: an auditor would have to install it")
        if name is None:
            whole.add(f"import {module}" if local == module else f"import {module} as {local}")
        else:
            parts[module].add(name if local == name else f"{name} as {local}")
    lines = {f"from {module} import {', '.join(sorted(names))}" for module, names in parts.items()} | whole
    standard = sorted(line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names)
    return "\n" + "\n".join(standard) + "\n\n" + "\n".join(sorted(lines - set(standard)))


def main() -> None:
    """Write verify.py beside this module."""
    (DIRECTORY / "verify.py").write_text(build(), encoding="utf-8")


if __name__ == "__main__":
    main()
