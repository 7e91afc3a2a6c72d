"""House rules over one Python file: sizes, docstrings, names, calls, suppressions, SQL in strings.

Each rule is a function (path, text) -> sentences. The limits are the project's; exceptions stand here, by name.
"""

import ast
import re
from collections.abc import Iterator

FUNCTION_LINES_MAX = 70
# Functions allowed to be longer, with the length they may not outgrow. It only ever shrinks.
FUNCTION_RATCHET: dict[str, int] = {}
MODULE_LINES_MAX = 400
TEST_MODULE_LINES_MAX = 800
DOCSTRING_LINES_MAX = 6
# Its docstring is the drawn tree of errors.
LONG_DOCSTRINGS = {"schemas/errors.py"}

BANNED_PATH_PARTS = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
# The project has one word for each of these: subject, controller.
BANNED_WORDS = {"user_id", "userid", "tenant", "tenant_id", "customer_id", "merchant"}
# They are the readers that everyone else must use; the verifier in every bundle is cut from the second.
LENIENT_JSON_ALLOWED = ("schemas/canonical.py", "schemas/strict_json.py")
PRINT_ALLOWED = ("services/cli/", "bench/", "deploy/", "tests/")

SUPPRESSION = re.compile(r"#\s*(?:type:\s*ignore|(?:ruff:\s*)?noqa)\b(?P<rest>.*)$")
SUPPRESSION_FULL = re.compile(
    r"^(?:\[[a-z-]+(?:, ?[a-z-]+)*\]|:\s*[A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*)\s*(?:-|#)\s*\S.{2,}"
)
SQL_STATEMENT = re.compile(
    r"\s*(?:SELECT\s(?!1$|current_setting\(|set_config\()|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|MERGE\s+INTO\s|TRUNCATE\s"
    r"|(?:CREATE|ALTER|DROP)\s+(?:TABLE|INDEX|FUNCTION|TRIGGER|POLICY|SCHEMA)\s|WITH\s+\w+\s+AS\s*\()",
    re.IGNORECASE,
)


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def function_length(path: str, text: str) -> list[str]:
    """At most 70 lines from `def` to the end."""
    found = []
    for name, node in _functions(ast.parse(text)):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_RATCHET.get(f"{path}:{name}", FUNCTION_LINES_MAX):
            found.append(f"{name} has {lines} lines, split it (at most {FUNCTION_LINES_MAX})")
    return found


def module_length(path: str, text: str) -> list[str]:
    """At most 400 lines a module, 800 a test module."""
    most = TEST_MODULE_LINES_MAX if path.startswith("tests/") else MODULE_LINES_MAX
    lines = text.count("\n")
    return [f"has {lines} lines, split it by behaviour (at most {most})"] if lines > most else []


def module_docstring(path: str, text: str) -> list[str]:
    """Every module says in 1 to 6 lines what it is; an empty __init__.py of a tests folder has nothing to say."""
    if path.endswith("/__init__.py") and path.startswith(("tests/", "deploy/", "bench/")) and not text.strip():
        return []
    docstring = ast.get_docstring(ast.parse(text))
    if not docstring:
        return ["has no module docstring: say what it is, which specification, which invariant"]
    lines = docstring.count("\n") + 1
    if lines > DOCSTRING_LINES_MAX and path not in LONG_DOCSTRINGS:
        return [
            f"its docstring has {lines} lines (at most {DOCSTRING_LINES_MAX}): the rest belongs to docs/ or the code"
        ]
    return []


def path_names(path: str, text: str) -> list[str]:
    """No file or folder is named after nothing in particular."""
    parts = {re.sub(r"\.\w+$", "", part) for part in path.split("/")}
    return [f"{name!r} says nothing: name the file after what it does" for name in sorted(parts & BANNED_PATH_PARTS)]


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _has_reason(lines: list[str], lineno: int) -> bool:
    above = lines[lineno - 2].strip() if lineno > 1 else ""
    return "# " in lines[lineno - 1] or above.startswith("# ")


def banned_calls(path: str, text: str) -> list[str]:
    """Calls that hide a mistake: print in a service, sleeping instead of waiting, naive times, lenient JSON."""
    found = []
    lines = text.splitlines()
    tree = ast.parse(text)
    # A sleep inside `while` is a poll: the condition is beside it.
    polls = {id(call) for loop in ast.walk(tree) if isinstance(loop, ast.While) for call in ast.walk(loop)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _dotted(node.func)
        if name == "print" and not path.startswith(PRINT_ALLOWED):
            found.append(f"line {node.lineno}: print: services log through services.observability")
        sleeps = name in {"time.sleep", "asyncio.sleep"} and path.startswith("tests/") and id(node) not in polls
        if sleeps and not _has_reason(lines, node.lineno):
            found.append(
                f"line {node.lineno}: {name}: wait on a condition with a deadline, or say why in a comment there"
            )
        if name.endswith(("datetime.utcnow", "datetime.utcfromtimestamp")):
            found.append(f"line {node.lineno}: {name} is naive: use datetime.now(UTC)")
        lenient = name in {"json.loads", "json.load"} and path.startswith(("schemas/", "services/"))
        if lenient and path not in LENIENT_JSON_ALLOWED:
            found.append(
                f"line {node.lineno}: {name} takes duplicate keys, NaN and floats: read through schemas.canonical"
            )
    return found


def suppressions(path: str, text: str) -> list[str]:
    """A `type: ignore` or `noqa` names its code and says why on its line."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = SUPPRESSION.search(_without_strings(line))
        if match and not SUPPRESSION_FULL.match(match["rest"]):
            found.append(f"line {number}: a suppression needs its code and a reason: `# noqa: X123 - why`")
    return found


def _without_strings(line: str) -> str:
    """The line with quoted text blanked, so that a rule's own patterns do not count."""
    return re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]*`", '""', line)


def count_suppressions(text: str) -> int:
    """How many lines of the file carry a suppression."""
    return sum(1 for line in text.splitlines() if SUPPRESSION.search(_without_strings(line)))


def sql_in_strings(path: str, text: str) -> list[str]:
    """SQL lives in .sql files, where psql, EXPLAIN and reviewers see it; a session setting is not worth a file."""
    if not path.startswith(("schemas/", "services/")):
        return []
    tree = ast.parse(text)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        f"line {node.lineno}: SQL in a string: move it to a named statement in a .sql file"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and SQL_STATEMENT.match(node.value)
    ]


def words(path: str, text: str) -> list[str]:
    """One word for each thing: the person is a subject, the organisation a controller."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        for field in ("id", "attr", "arg", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str) and name.lower() in BANNED_WORDS:
                found.add(name)
    return [f"{name!r}: the words are subject and controller (docs/architecture.md)" for name in sorted(found)]
