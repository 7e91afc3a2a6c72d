"""Rows of exports: the guard against formulas, which rows are proven, and what a table shows of a record."""

import pytest

from schemas.exports import COLUMNS, SAMPLES_MAX, Row, guarded, sampled, unguarded

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "value",
    ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\r=1", "\n=1", "'=1", "\uff1d1", "'", "plain", "", '{"a":"=1"}'],
)
def test_no_cell_begins_like_a_formula_and_each_comes_back(value: str) -> None:
    cell = guarded(value)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"))
    assert unguarded(cell) == value


def test_only_what_needs_it_is_guarded() -> None:
    assert [guarded(value) for value in ("plain", "a=b", "")] == ["plain", "a=b", ""]


def test_the_files_own_hash_draws_its_samples() -> None:
    for records in (0, 1, 2, SAMPLES_MAX, 50_000):
        rows = sampled("ab" * 32, records)
        assert len(rows) <= SAMPLES_MAX
        assert rows == sorted(set(rows))
        assert not records or (rows[0], rows[-1]) == (0, records - 1)
    assert sampled("ab" * 32, 50_000) != sampled("cd" * 32, 50_000)


def test_a_part_that_was_not_asked_for_leaves_its_digest_alone() -> None:
    row = Row("log.example/logs/shop", 7, None, b'{"v":1}', {"who": (bytes(32), b"{}")}, {"what": bytes(32)})
    cells = row.columns()
    assert set(cells) <= set(COLUMNS)
    assert cells["what_digest"] == "00" * 32
    assert cells["event"] is cells["decisions"] is None
    assert cells["who"] == "{}"
