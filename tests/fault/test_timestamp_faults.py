"""Authorities that are away, slow, garbled or lying: the ledger records and signs on, and keeps what was answered.

Goal: no answer of an authority stops anything or passes for a token; what can be had is had once it is back.
Method: a ledger on Postgres, two local authorities, one of them damaged in one way each time.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from schemas.timestamp_token import RESPONSE_BYTES_MAX
from services.ledger.evidence.timestamps import ANSWERS_MAX
from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.timestamps import asking, record, sample, tokens, until_fulfilled, until_tokens, wish
from tests.support.tsa import Answer, TimestampAuthority
from tests.support.wait import until

pytestmark = pytest.mark.fault


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> Deployment:
    deployment = Deployment(database, tmp_path)
    await deployment.create()
    return deployment


async def answers(deployment: Deployment, authority: str) -> list[bytes]:
    """What was kept of this authority, as it came."""
    rows = await deployment.fetch("SELECT response FROM timestamps WHERE authority = $1 ORDER BY seq", authority)
    return [row["response"] for row in rows]


async def test_one_of_two_is_down_and_comes_back(
    deployment: Deployment, timestamp_authority: TimestampAuthority, tmp_path: Path
) -> None:
    other = TimestampAuthority(tmp_path / "other", "other")
    with other.served():
        pass  # It has a port now, and nobody listens there.
    async with deployment.ledger(**asking(deployment, timestamp_authority, other)) as ledger:
        await record(deployment, 1)
        await wish(deployment, 1)
        # The one that is away keeps no proof waiting.
        await until_fulfilled(deployment)
        assert await tokens(deployment) == [(1, "local")]
        assert (sample(ledger, "sayso_ledger_timestamps_total", authority="other", outcome="away") or 0) >= 3
        assert ledger.halted is None
        await record(deployment, 2)
        with other.served():
            await until_tokens(deployment, (1, "local"), (2, "other"))


async def test_all_are_down_and_the_wish_is_kept(deployment: Deployment, tmp_path: Path) -> None:
    only = TimestampAuthority(tmp_path / "only", "only")
    with only.served():
        pass
    async with deployment.ledger(**asking(deployment, only)) as ledger:
        await record(deployment, 1)
        await wish(deployment, 1)

        def tried_again() -> bool:
            away = sample(ledger, "sayso_ledger_timestamps_total", authority="only", outcome="away")
            return away is not None and away >= 2

        await until(tried_again, what="a second try")
        assert await deployment.fetch("SELECT FROM timestamp_wishes")
        with only.served():
            await until_fulfilled(deployment)
            assert await tokens(deployment) == [(1, "only")]


def honest(authority: TimestampAuthority) -> Answer:
    return lambda request: (200, authority.reply(request))


def lies(stranger: TimestampAuthority) -> dict[str, Callable[[TimestampAuthority], Answer]]:
    """Answers of 200 that must not pass for tokens, by the name of who gives them."""

    def last_bit(authority: TimestampAuthority) -> Answer:
        def flipped(request: bytes) -> tuple[int, bytes]:
            response = bytearray(authority.reply(request))
            response[-1] ^= 1
            return 200, bytes(response)

        return flipped

    def replayed(authority: TimestampAuthority) -> Answer:
        old = authority.stamp(b"something else", bytes(8))
        return lambda _: (200, old)

    return {
        "garbage": lambda _: lambda _: (200, b"<html>Sign in to the hotel's network</html>"),
        "nothing": lambda _: lambda _: (200, b""),
        "rejected": lambda _: lambda _: (200, bytes.fromhex("30053003020102")),
        "replayed": replayed,
        "foreign": lambda _: lambda request: (200, stranger.reply(request)),
        "flipped": last_bit,
        "endless": lambda _: lambda _: (200, b"0" * 200_000),
    }


async def test_answers_that_do_not_verify_are_kept_raw_and_are_no_tokens(
    deployment: Deployment, timestamp_authority: TimestampAuthority, tmp_path: Path
) -> None:
    said: dict[str, list[bytes]] = {}

    def lying(name: str, answer: Answer) -> Answer:
        def noted(request: bytes) -> tuple[int, bytes]:
            status, body = answer(request)
            said.setdefault(name, []).append(body)
            return status, body

        return noted

    with ExitStack() as served:
        names = set(lies(timestamp_authority))
        liars = [TimestampAuthority(tmp_path / name, name) for name in sorted(names)]
        for liar in liars:
            served.enter_context(liar.served())
            liar.answer = lying(liar.name, lies(timestamp_authority)[liar.name](liar))
        async with deployment.ledger(**asking(deployment, *liars)) as ledger:
            await record(deployment, 1)

            async def all_kept() -> bool:
                return {authority for _, authority in await tokens(deployment, verified=False)} == names

            await until(all_kept, what="an answer of each is kept")
            assert await tokens(deployment) == []
            for name, bodies in said.items():
                assert (await answers(deployment, name))[0] == bodies[0][: RESPONSE_BYTES_MAX + 1]
                assert sample(ledger, "sayso_ledger_timestamps_total", authority=name, outcome="obtained") == 0
            # Recording goes on, and once they are honest there are tokens.
            for liar in liars:
                liar.answer = honest(liar)
            await record(deployment, 2)
            await until_tokens(deployment, *((2, liar.name) for liar in liars))


async def test_a_liar_is_not_asked_for_ever(deployment: Deployment, tmp_path: Path) -> None:
    with TimestampAuthority(tmp_path / "liar", "liar").served() as liar:
        liar.answer = lambda _: (200, b"garbage")
        async with deployment.ledger(**asking(deployment, liar)):
            await record(deployment, 1)
            await wish(deployment, 1)
            # Three answers are kept; then the proof goes out without a token rather than never.
            await until_fulfilled(deployment)
            assert await answers(deployment, "liar") == [b"garbage"] * ANSWERS_MAX


async def test_a_slow_authority_holds_nobody_up(
    deployment: Deployment, timestamp_authority: TimestampAuthority, tmp_path: Path
) -> None:
    with TimestampAuthority(tmp_path / "slow", "slow").served() as slow:
        over = threading.Event()

        def slowly(request: bytes) -> tuple[int, bytes]:
            over.wait(30)
            return 500, b""

        slow.answer = slowly
        settings: dict[str, Any] = asking(deployment, slow, timestamp_authority)
        try:
            async with deployment.ledger(**settings):
                await record(deployment, 1)
                await until_tokens(deployment, (1, "local"))
                await record(deployment, 2)
                await wish(deployment, 2)
                await until_tokens(deployment, (1, "local"), (2, "local"))
        finally:
            over.set()


async def test_the_session_that_has_the_turn_is_killed(
    deployment: Deployment, timestamp_authority: TimestampAuthority
) -> None:
    async with deployment.ledger(**asking(deployment, timestamp_authority)):
        for number in (1, 2):
            await record(deployment, number)
            await wish(deployment, number)
            await until_fulfilled(deployment)
            # What Postgres does to a ledger that is silent for long, and what its restart does to all.
            killed = await deployment.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            assert len(killed) == 1
    assert await tokens(deployment) == [(1, "local"), (2, "local")]
