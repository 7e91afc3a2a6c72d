"""Witnesses that are down, slow, lying or forgetful: writes go on, the policy holds, nothing false is kept.

Goal: no answer of a witness, and none left out, reaches recording, signing or another witness. Method: a real ledger on
real Postgres asks many stand-ins at once, each with a fault of its own, beside honest ones that make the quorum.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from schemas.policy import parse_policy, verify_policy
from services.ledger.service import LedgerService
from tests.support import witness
from tests.support.chain_check import assert_one_clean_chain
from tests.support.databases import Database
from tests.support.wait import until
from tests.support.witness import ML_DSA, Reply, StandInWitness, policy_text
from tests.support.witnessed import ORIGIN, WitnessedDeployment, outcomes, running

pytestmark = pytest.mark.fault

FIRST, SECOND = 5, 8
# Rounds of one second each; two witnesses that went their own ways would meet every third second at best.
ADVANCES, ADVANCES_S = 5, 9


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> WitnessedDeployment:
    deployment = WitnessedDeployment(database, tmp_path)
    await deployment.create()
    return deployment


def forget(server: StandInWitness) -> None:
    server.state.clear()


def other_tree(server: StandInWitness) -> None:
    """It has cosigned another root for the size it is at."""
    server.state[ORIGIN] = server.state[ORIGIN][0], bytes(32)


def other_tree_at_the_next_size(server: StandInWitness) -> None:
    """It has cosigned another root for the very size that it will be asked for."""
    server.state[ORIGIN] = FIRST + SECOND, bytes(32)


def the_same_in_v1_0_0(server: StandInWitness) -> None:
    """And says so as the first version of the protocol asks for."""
    other_tree_at_the_next_size(server)
    server.misbehave = lambda s, _note, honest: (409, b"%d\n" % s.state[ORIGIN][0], {}) if honest[0] == 422 else honest


def nothing_new(_server: StandInWitness) -> None:
    """It was bad from the start."""


def slow(server: StandInWitness) -> None:
    server.quick.clear()


def answers(misbehaviour: witness.Misbehaviour) -> Callable[[StandInWitness], None]:
    def turn(server: StandInWitness) -> None:
        server.misbehave = misbehaviour

    return turn


# name -> how it turns bad after it has cosigned once, and how the exchanges that follow may end
FAULTS: dict[str, tuple[Callable[[StandInWitness], None], set[str]]] = {
    "down": (StandInWitness.stop, {"unavailable"}),
    "slow": (slow, {"unavailable"}),
    "broken": (answers(witness.always(503)), {"unavailable"}),
    "another-key": (answers(witness.stranger_line), {"wrong-answer"}),
    "another-root": (answers(witness.forged_line), {"wrong-answer"}),
    "another-text": (answers(witness.own_text), {"wrong-answer"}),
    "old-answer": (nothing_new, {"wrong-answer"}),
    "clock-ahead": (answers(witness.at_time(10**6)), {"wrong-time"}),
    "oversize": (answers(witness.always(200, b"\xe2\x80\x94 " * 10**6)), {"wrong-answer"}),
    "redirect": (answers(witness.always(302, b"", location="http://127.0.0.1:1/")), {"wrong-answer"}),
    "unknown-log": (answers(witness.always(404)), {"unknown-log"}),
    "forbidden": (answers(witness.always(403)), {"forbidden"}),
    "malformed": (answers(witness.always(400)), {"malformed"}),
    "ahead": (answers(witness.always(409, b"1000000\n")), {"ahead"}),
    "wandering": (answers(lambda s, _n, _r: (409, b"%d\n" % (len(s.requests) % 4), {})), {"conflict", "forgot"}),
    "other-tree": (other_tree, {"inconsistent"}),
    "other-tree-at-the-next-size": (other_tree_at_the_next_size, {"inconsistent"}),
    "other-tree-v1.0.0": (the_same_in_v1_0_0, {"inconsistent"}),
}


def noticed(service: LedgerService, server: StandInWitness, expected: set[str]) -> bool:
    return bool((outcomes(service, server) - {"cosigned"}) & expected)


@pytest.mark.timeout(90)
async def test_bad_witnesses_change_nothing(deployment: WitnessedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.evidence.witness_client.ANSWER_S", 1.0)
    honest = StandInWitness("honest", deployment.logs), StandInWitness("pq", deployment.logs, kind=ML_DSA)
    bad = {name: StandInWitness(name, deployment.logs) for name in FAULTS}
    bad["old-answer"].misbehave = witness.first_answer_again()
    forgetful = StandInWitness("forgetful", deployment.logs)
    listed = "".join(f"witness {w.name} {w.vkey} {w.url}\n" for w in (*bad.values(), forgetful))
    policy = listed + policy_text(*honest)
    everyone = (*honest, *bad.values(), forgetful)
    async with running(*everyone), deployment.witnessed_ledger(policy, hold=True) as service:
        first = await deployment.post(FIRST)
        await deployment.serves(first, cosigned_by=[w for w in everyone if w is not bad["old-answer"]])
        for name, server in bad.items():
            await asyncio.to_thread(FAULTS[name][0], server)
        forget(forgetful)
        # Nobody waits for the slow: recorded, signed and shown with the quorum before a single exchange timed out.
        began = time.monotonic()
        size = await deployment.post(SECOND)
        assert size == FIRST + SECOND
        note = await deployment.serves(size, cosigned_by=(*honest, forgetful))
        assert time.monotonic() - began < 5
        assert len(verify_policy(note, ORIGIN, parse_policy(policy))) >= 3
        for name, server in bad.items():
            expected = FAULTS[name][1]
            await until(partial(noticed, service, server, expected), what=f"{name} is noticed")
            assert outcomes(service, server) <= expected | {"cosigned"}, name
            assert not await deployment.cosigned(size, server), name
        assert outcomes(service, forgetful) == {"cosigned", "forgot"}
        # And on it goes.
        size = await deployment.post(20)
        await deployment.serves(size, cosigned_by=(*honest, forgetful))
    await assert_one_clean_chain(deployment, size)


async def test_a_witness_that_was_mistaken_is_asked_again(deployment: WitnessedDeployment) -> None:
    """After every kind of fault it cosigns within seconds of its recovery, whatever it had claimed."""
    names = ("down", "another-key", "clock-ahead", "unknown-log", "ahead", "other-tree")
    servers = {name: StandInWitness(name, deployment.logs) for name in names}
    async with running(*servers.values()), deployment.witnessed_ledger(policy_text(*servers.values())) as service:
        size = await deployment.post(FIRST)
        await deployment.serves(size, cosigned_by=servers.values())
        true_state = dict(servers["other-tree"].state)
        for name, server in servers.items():
            await asyncio.to_thread(FAULTS[name][0], server)
        size = await deployment.post(SECOND)
        for name, server in servers.items():
            await until(partial(noticed, service, server, FAULTS[name][1]), what=f"{name} is noticed")
        for server in servers.values():
            server.misbehave = None
        servers["other-tree"].state = true_state
        await asyncio.to_thread(servers["down"].start)
        await deployment.serves(size, cosigned_by=servers.values(), deadline_s=10)


async def test_a_quorum_of_slow_witnesses_keeps_up_with_steady_writes(deployment: WitnessedDeployment) -> None:
    """Each takes its time, never the same; were each asked for the newest size, no two would cosign the same one."""
    pause = Event()

    def after(seconds: float) -> witness.Misbehaviour:
        def reply(_server: StandInWitness, _note: str, honest: Reply) -> Reply:
            pause.wait(seconds)
            return honest

        return reply

    servers = [StandInWitness(f"w{n}", deployment.logs) for n in range(2)]
    policy = policy_text(*servers)
    async with running(*servers), deployment.witnessed_ledger(policy, hold=True):
        await deployment.serves(0)
        servers[0].misbehave, servers[1].misbehave = after(0.6), after(0.85)
        shown: set[int] = set()
        began = time.monotonic()
        while len(shown) < ADVANCES:
            await deployment.post(1)
            shown.add(await deployment.served_size())
            assert time.monotonic() - began < ADVANCES_S, shown
        pause.set()
        await deployment.serves(await deployment.post(1), cosigned_by=servers)


async def test_a_damaged_tile_is_refused_by_the_witness_and_stops_nothing(deployment: WitnessedDeployment) -> None:
    server = StandInWitness("one", deployment.logs)
    async with running(server), deployment.witnessed_ledger(policy_text(server)) as service:
        await deployment.serves(await deployment.post(256), cosigned_by=(server,))
        await asyncio.to_thread(server.stop)
        size = await deployment.post(2)
        # A hash that the path from 256 needs. Nobody can do this but a superuser, or a disk.
        flip = (
            "SET session_replication_role = replica; "
            "UPDATE tiles SET hashes = set_byte(hashes, 3, get_byte(hashes, 3) # 1) WHERE level = 0 AND tile = 1"
        )
        connection = await deployment.connect()
        try:
            await connection.execute(flip)
            await asyncio.to_thread(server.start)
            await until(lambda: "inconsistent" in outcomes(service, server), what="the witness refuses the path")
            assert not await deployment.cosigned(size, server)
            await connection.execute(flip)
        finally:
            await connection.close()
        await deployment.serves(size, cosigned_by=(server,))
