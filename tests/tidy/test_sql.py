"""The house rules over .sql files hold, and each of them can fail."""

import pytest

from tests.tidy import sql_rules
from tests.tidy.repository import Rule, select, violations

pytestmark = pytest.mark.tidy

GOOD = "-- Queries of one service.\n\n-- fetch --\n-- One row by its id.\nSELECT 1;\n"
LOADS = "Q = named_queries(P)\nrun(Q['fetch'])\n"

BAD_SAMPLES: dict[Rule, tuple[str, str]] = {
    sql_rules.opening_comment: ("services/x/sql/queries.sql", "SELECT 1;\n"),
    sql_rules.query_headers: ("services/x/sql/queries.sql", "-- Queries.\n\n-- fetch --\nSELECT 1;\n"),
}


@pytest.mark.parametrize("rule", BAD_SAMPLES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    broken = violations(rule, select(".sql"))
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("rule", BAD_SAMPLES, ids=lambda rule: rule.__name__)
def test_the_rule_can_fail(rule: Rule) -> None:
    assert rule(*BAD_SAMPLES[rule])
    assert not rule("services/x/sql/queries.sql", GOOD)


@pytest.mark.parametrize("text", ["-- a --\n-- Purpose.\n", "-- a --\n-- P.\nSELECT 1;\n-- a --\n-- P.\nSELECT 2;\n"])
def test_query_without_statement_or_named_twice_is_found(text: str) -> None:
    assert sql_rules.query_headers("services/x/sql/queries.sql", text)


def test_code_and_named_queries_agree() -> None:
    queries = [(path, text) for path, text in select(".sql", "services", "deploy")]
    broken = sql_rules.disagreements(queries, select(".py", "services", "deploy", "bench"))
    assert not broken, "\n" + "\n".join(broken)


def test_disagreements_are_found() -> None:
    sql = [("services/x/sql/queries.sql", GOOD)]
    assert not sql_rules.disagreements(sql, [("services/x/store.py", LOADS)])
    assert sql_rules.disagreements(sql, [("services/x/store.py", "Q = 1\n")])
    assert sql_rules.disagreements([], [("services/x/store.py", LOADS)])
