"""House rules over .sql files: what each is for, and that named queries and the code that runs them agree.

A named query is `-- name --`, a line of purpose, the statement. Migrations, the schema and roles hold no named queries.
"""

import ast
import re

QUERY_NAME = re.compile(r"^-- ([a-z][a-z0-9_]*) --$", re.MULTILINE)
LOADER = "named_queries"


def query_names(text: str) -> list[str]:
    """The names in the order they stand in the file."""
    return QUERY_NAME.findall(text)


def opening_comment(path: str, text: str) -> list[str]:
    """A .sql file begins by saying what it is."""
    return [] if text.startswith("-- ") else [f"{path.rsplit('/', maxsplit=1)[-1]} has no opening comment"]


def query_headers(path: str, text: str) -> list[str]:
    """Each named query has its purpose on the next line, a statement below it, and a name of its own."""
    if "/sql/" in path and not path.endswith("schema.sql") and "/migrations/" not in path and not query_names(text):
        return ["has no named query: open each statement with `-- name --`"]
    found = []
    pieces = QUERY_NAME.split(text)
    names = pieces[1::2]
    for name, body in zip(names, pieces[2::2], strict=True):
        lines = body.strip().splitlines()
        if not lines or not lines[0].startswith("-- ") or not lines[0].strip("- "):
            found.append(f"{name}: the line below the name must say what the statement is for")
        if all(line.startswith("--") or not line.strip() for line in lines):
            found.append(f"{name}: has no statement")
    found += [f"{name}: named twice" for name in sorted({name for name in names if names.count(name) > 1})]
    return found


def _collections(tree: ast.AST) -> set[str]:
    """Variables that hold loaded queries: `X = named_queries(...)`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            function = node.value.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name == LOADER:
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
                found |= {target.attr for target in targets if isinstance(target, ast.Attribute)}
    return found


def used_names(files: list[tuple[str, str]]) -> dict[str, set[str]]:
    """Query names taken from loaded collections, each with the files that take it."""
    trees = {path: ast.parse(text) for path, text in files}
    collections = set().union(*(_collections(tree) for tree in trees.values()))
    used: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
                continue
            holder = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if holder in collections and isinstance(node.slice.value, str):
                used.setdefault(node.slice.value, set()).add(path)
    return used


def strings(files: list[tuple[str, str]]) -> set[str]:
    """Every string constant, for names that are passed on before they are looked up."""
    return {
        node.value
        for _, text in files
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def disagreements(sql: list[tuple[str, str]], python: list[tuple[str, str]]) -> list[str]:
    """Named queries that their own folder never runs, and names that are looked up and stand in no file."""
    found = []
    for path, text in sql:
        folder = path.partition("/sql/")[0]
        mentioned = strings([(module, code) for module, code in python if module.startswith(f"{folder}/")])
        found += [f"{path}: {name} is never used in {folder}" for name in query_names(text) if name not in mentioned]
    defined = {name for _, text in sql for name in query_names(text)}
    for name, paths in sorted(used_names(python).items()):
        if name not in defined:
            found.append(f"{', '.join(sorted(paths))}: no .sql file names a query {name!r}")
    return found
