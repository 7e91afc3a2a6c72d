"""Every bit, not a sample of them: `make test-exhaustive`. `make test` runs a few (tests/fault/test_single_bits.py)."""

from pathlib import Path

import pytest

from tests.support.databases import Database
from tests.support.mirrored_sample import recorded, six_hundred

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(3600)]

SEED = 20_261_122
OF_A_REAL_LOG = 20_000


def test_every_bit_of_the_600_entry_log(tmp_path: Path) -> None:
    log = six_hundred(tmp_path)
    assert log.verify(log.files) == 600
    places = log.places()
    assert len(places) > 200_000
    assert log.missed_over_all_cores(places) == []


async def test_twenty_thousand_bits_of_a_real_log(database: Database, tmp_path: Path) -> None:
    _, log = await recorded(database, tmp_path)
    assert log.verify(log.files) == 582
    assert log.missed_over_all_cores(log.some_places(SEED, OF_A_REAL_LOG)) == []
