"""The high-water mark on disk: it only rises, being late is no contradiction, a second root for one size is."""

from pathlib import Path

import pytest

from schemas.checkpoint import Checkpoint
from schemas.errors import ConfigurationError, LedgerHalted
from services.ledger.high_water import HighWater

pytestmark = pytest.mark.unit

ORIGIN = "log.example/logs/shop"


def mark(size: int, root: bytes = b"r" * 32) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root)


def test_a_mark_rises_and_is_there_after_a_restart(tmp_path: Path) -> None:
    high_water = HighWater(tmp_path)
    assert high_water.raise_to(mark(3))
    assert high_water.raise_to(mark(3)), "signing the same again after a crash is allowed"
    assert high_water.raise_to(mark(7))
    assert HighWater(tmp_path).sizes() == {ORIGIN: 7}
    assert HighWater(tmp_path).id == high_water.id


def test_another_ledger_that_was_faster_makes_this_one_late_not_wrong(tmp_path: Path) -> None:
    slow, fast = HighWater(tmp_path), HighWater(tmp_path)
    assert fast.raise_to(mark(9))
    assert not slow.raise_to(mark(8))
    assert slow.sizes() == {ORIGIN: 9}, "what the other signed is known from now on"
    assert HighWater(tmp_path).sizes() == {ORIGIN: 9}


def test_a_second_root_for_a_signed_size_halts(tmp_path: Path) -> None:
    HighWater(tmp_path).raise_to(mark(5))
    with pytest.raises(LedgerHalted, match="another root"):
        HighWater(tmp_path).raise_to(mark(5, b"s" * 32))


def test_marks_without_the_directorys_id_are_refused(tmp_path: Path) -> None:
    HighWater(tmp_path).raise_to(mark(5))
    (tmp_path / "id").unlink()
    with pytest.raises(ConfigurationError, match="never invent it"):
        HighWater(tmp_path)
