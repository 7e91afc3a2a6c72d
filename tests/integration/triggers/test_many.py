"""Erasures fan out to systems of every kind; 60 of them here, 10,000 in tests/exhaustive."""

from pathlib import Path

import pytest

from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.downstream import secret_of
from tests.support.many_erasures import play

pytestmark = pytest.mark.integration


async def test_sixty_erasures_each_end_answered_or_overdue(database: Database, tmp_path: Path) -> None:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    await play(deployment, tmp_path, 60, secret_of(deployment, "later"))
