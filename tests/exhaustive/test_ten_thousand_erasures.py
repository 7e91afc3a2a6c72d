"""Ten thousand erasures told to systems of every kind; `make test` plays it with 60 (tests/integration/triggers)."""

from pathlib import Path

import pytest

from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.downstream import secret_of
from tests.support.many_erasures import play

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(3600)]


async def test_ten_thousand_erasures_each_end_answered_or_overdue(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    await play(deployment, tmp_path, 10_000, secret_of(deployment, "later"))
