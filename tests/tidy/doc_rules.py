"""House rules over Markdown: links lead somewhere, named functions exist, commands can be typed, decisions have a form.

A rule that must look at other files takes them as an argument, so that it can be shown failing without them.
"""

import ast
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

DECISION_NAME = re.compile(r"^docs/decisions/(?P<number>\d{4})-[a-z0-9-]+\.md$")
DECISION_SECTIONS = ("## Context", "## Decision", "## Consequences", "## Alternatives")
DECISION_LINES_MAX = 80

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*#*$", re.MULTILINE)
_REFERENCE = re.compile(r"(?P<path>[\w./-]+\.(?:py|sql|js)):(?P<name>[A-Za-z_][\w.]*)")
_SAYSO = re.compile(r"(?:^|[\s/`(])sayso (?P<first>[a-z][a-z-]*)(?: (?P<second>[a-z][a-z-]*))?", re.MULTILINE)
_MAKE = re.compile(r"(?:^|[\s`(])make (?P<target>[a-z][a-z-]*)", re.MULTILINE)


def outside_names(path: str, text: str) -> list[str]:  # every file, not only Markdown
    """The repository names nothing that a stranger's clone does not hold."""
    needles = ("../" + "shared", "/wo" + "rk/", "issues " + "show", "." + "library")
    return [
        f"line {number}: names {needle!r}, which is not in the repository"
        for number, line in enumerate(text.splitlines(), start=1)
        for needle in needles
        if needle in line and not path.startswith("tests/tidy/doc_rules")
    ]


def _prose(text: str) -> str:
    return _INLINE.sub("", _FENCE.sub("", text))


def _code(text: str) -> str:
    without_fences = _FENCE.sub("", text)
    return "\n".join(_FENCE.findall(text) + _INLINE.findall(without_fences))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    found: set[str] = set()
    for match in _HEADING.finditer(_FENCE.sub("", text)):
        slug = re.sub(r"[^\w\- ]", "", match["text"].lower()).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-{sum(1 for a in found if a.startswith(slug))}")
    return found


def dead_links(path: str, text: str, files: Mapping[str, str], folders: Collection[str]) -> list[str]:
    """Relative links lead to a file or folder of the repository, and anchors to a heading in it."""
    found = []
    for match in _LINK.finditer(_prose(text)):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        parts: list[str] = list(PurePosixPath(path).parent.parts) if target else [path]
        for part in PurePosixPath(target).parts:
            if part == ".." and parts:
                parts.pop()
            else:
                parts.append(part)
        resolved = "/".join(parts)
        if resolved not in files and resolved not in folders:
            found.append(f"links to {match['target']}, which is not there")
        elif anchor and resolved in files and anchor not in anchors(files[resolved]):
            found.append(f"links to {match['target']}, and no heading there gives that anchor")
    return found


def _definitions(text: str) -> set[str]:
    found = set()
    pending: list[tuple[str, ast.AST]] = [("", ast.parse(text))]
    while pending:
        prefix, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(f"{prefix}{child.name}")
                pending.append((f"{prefix}{child.name}.", child))
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                found |= {f"{prefix}{target.id}" for target in targets if isinstance(target, ast.Name)}
    return found


def dead_references(path: str, text: str, files: Mapping[str, str]) -> list[str]:
    """`services/x/y.py:function` names a function, class, method or constant that is there; a .sql file, a query."""
    found = []
    for match in _REFERENCE.finditer(text):
        target, name = match["path"], match["name"].rstrip(".")
        if target not in files:
            found.append(f"names {target}, which is not there")
        elif target.endswith(".sql"):
            if not re.search(rf"\b{re.escape(name)}\b", files[target]):
                found.append(f"names {target}:{name}, which is not in that file")
        elif target.endswith(".js"):
            if not re.search(rf"\b(?:function|class|const)\s+{re.escape(name)}\b", files[target]):
                found.append(f"names {target}:{name}, which is not defined there")
        elif name not in _definitions(files[target]):
            found.append(f"names {target}:{name}, which is not defined there")
    return found


def sayso_commands(text: str) -> set[tuple[str, str]]:
    """Every `sayso first second` in the text; second is empty when no word follows."""
    return {(match["first"], match["second"] or "") for match in _SAYSO.finditer(text)}


def dead_commands(path: str, text: str, targets: Collection[str], commands: Mapping[str, Collection[str]]) -> list[str]:
    """What the page tells to type exists: targets of the Makefile, commands of sayso and their subcommands."""
    typed = _code(text) if path.endswith(".md") else text
    found = [
        f"tells to type `make {match['target']}`, which the Makefile does not have"
        for match in _MAKE.finditer(typed)
        if path.endswith(".md") and match["target"] not in targets
    ]
    for first, second in sorted(sayso_commands(typed)):
        if first not in commands:
            found.append(f"tells to type `sayso {first}`, which is no command")
        elif commands[first] and second and second not in commands[first]:
            found.append(f"tells to type `sayso {first} {second}`, which is no command")
    return found


def decision_form(path: str, text: str) -> list[str]:
    """A decision is one page with the four sections of the template, in order."""
    if not path.startswith("docs/decisions/"):
        return []
    if not (DECISION_NAME.match(path) or path == "docs/decisions/template.md"):
        return ["is not named NNNN-what-was-decided.md"]
    positions = [text.find(f"\n{section}\n") for section in DECISION_SECTIONS]
    found = []
    if -1 in positions or positions != sorted(positions):
        found.append(f"needs the sections {', '.join(DECISION_SECTIONS)}, in this order")
    if text.count("\n") > DECISION_LINES_MAX:
        found.append(f"is longer than a page ({DECISION_LINES_MAX} lines)")
    return found
