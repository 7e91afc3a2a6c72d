"""The house rules over Python files hold, and each of them can fail."""

import pytest

from tests.tidy import code_rules
from tests.tidy.repository import Rule, select, violations

pytestmark = pytest.mark.tidy

LINES_PER_SUPPRESSION_MIN = 300
PYTHON_FOLDERS = ("schemas", "services", "tests", "bench", "deploy")

# rule -> the path and text of a file that breaks it
BAD_SAMPLES: dict[Rule, tuple[str, str]] = {
    code_rules.function_length: ("services/x.py", "class C:\n    def f(self):\n" + "        self.a = 1\n" * 70),
    code_rules.module_length: ("services/x.py", "a = 1\n" * 401),
    code_rules.module_docstring: ("services/x.py", "a = 1\n"),
    code_rules.path_names: ("services/ledger/utils.py", ""),
    code_rules.banned_calls: ("services/x.py", "import json\n\njson.loads(b'{}')\n"),
    code_rules.suppressions: ("services/x.py", "a = 1  # no" + "qa: E501\n"),
    code_rules.sql_in_strings: ("services/x.py", 'def f():\n    """Doc."""\n    return "SELECT leaf FROM records"\n'),
    code_rules.words: ("services/x.py", "def f(tenant):\n    return tenant\n"),
}


@pytest.mark.parametrize("rule", BAD_SAMPLES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    broken = violations(rule, select(".py", *PYTHON_FOLDERS))
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("rule", BAD_SAMPLES, ids=lambda rule: rule.__name__)
def test_the_rule_can_fail(rule: Rule) -> None:
    assert rule(*BAD_SAMPLES[rule])


def test_every_rule_has_a_bad_sample() -> None:
    rules = {
        value
        for name, value in vars(code_rules).items()
        if callable(value)
        and getattr(value, "__doc__", None)
        and getattr(value, "__module__", "") == code_rules.__name__
        and not name.startswith(("_", "count_"))
    }
    assert rules == set(BAD_SAMPLES)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("services/ledger/x.py", "print(1)"),
        ("tests/unit/x.py", "time.sleep(1)"),
        ("tests/unit/x.py", "await asyncio.sleep(0.1)"),
        ("schemas/x.py", "datetime.datetime.utcnow()"),
    ],
)
def test_banned_call_is_found(path: str, line: str) -> None:
    assert code_rules.banned_calls(path, f"async def f():\n    {line}\n")


def test_a_poll_passes() -> None:
    assert not code_rules.banned_calls("tests/x.py", "while not done():\n    time.sleep(0.01)\n")


def test_a_sleep_with_its_reason_passes() -> None:
    text = "# The broker must stay away for longer than the breaker's window.\ntime.sleep(3)\n"
    assert not code_rules.banned_calls("tests/fault/x.py", text)


@pytest.mark.parametrize(
    "comment",
    ["type: " + "ignore", "type: " + "ignore[arg-type]", "no" + "qa", "no" + "qa: E501", "no" + "qa: E501 - "],
)
def test_suppression_without_code_or_reason_is_found(comment: str) -> None:
    assert code_rules.suppressions("services/x.py", f"a = 1  # {comment}\n")


@pytest.mark.parametrize("comment", ["type: " + "ignore[arg-type] # stub is wrong", "no" + "qa: E501, B008 - a table"])
def test_suppression_with_code_and_reason_passes(comment: str) -> None:
    assert not code_rules.suppressions("services/x.py", f"a = 1  # {comment}\n")


def test_suppressions_are_rare() -> None:
    files = select(".py", *PYTHON_FOLDERS)
    lines = sum(text.count("\n") for _, text in files)
    counts = {path: code_rules.count_suppressions(text) for path, text in files}
    most = lines // LINES_PER_SUPPRESSION_MIN
    worst = sorted(((count, path) for path, count in counts.items() if count), reverse=True)[:10]
    assert sum(counts.values()) <= most, (
        f"{sum(counts.values())} suppressions in {lines} lines, at most {most}: {worst}"
    )
