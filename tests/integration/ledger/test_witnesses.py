"""The ledger and its witnesses: cosignatures on what is served, checkpoints held for a quorum, returning witnesses.

Goal: the policy holds at every moment, and recording never waits. Method: a real ledger on real Postgres, the witness
of transparency-dev as a process beside stand-ins, and the very statement that query serves the checkpoint with.
"""

import asyncio
import time
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.errors import ConfigurationError, ProofError
from schemas.note import log_key
from schemas.policy import parse_policy, verify_policy
from services.cli.doctor import examine
from services.ledger.service import LedgerService
from tests.interop.third_party import open_note_with_third_party
from tests.support.databases import Database
from tests.support.wait import until
from tests.support.witness import ML_DSA, GoWitness, Reply, StandInWitness, WitnessServer, policy_text
from tests.support.witnessed import ORIGIN, WitnessedDeployment, gauge, outcomes, running

# The first build of the Go witness on a machine takes minutes.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(700)]

RETURN_S = 10  # from a witness's return to its cosignature under the backlog


@pytest.fixture
async def deployment(database: Database, tmp_path: Path) -> WitnessedDeployment:
    deployment = WitnessedDeployment(database, tmp_path)
    await deployment.create()
    return deployment


def stand_ins(deployment: WitnessedDeployment, *names: str) -> tuple[StandInWitness, ...]:
    return tuple(StandInWitness(name, deployment.logs) for name in names)


def nothing_is_due(service: LedgerService, witness: WitnessServer) -> bool:
    return gauge(service, "sayso_ledger_uncosigned_logs", witness) == 0


async def test_the_served_checkpoint_carries_every_cosignature(deployment: WitnessedDeployment, tmp_path: Path) -> None:
    go = GoWitness("go", deployment.logs, tmp_path / "go")
    (ed,) = stand_ins(deployment, "ed")
    pq = StandInWitness("pq", deployment.logs, kind=ML_DSA)
    policy = policy_text(go, ed, pq, logs=(deployment.vkey,))
    async with running(go, ed, pq), deployment.witnessed_ledger(policy) as service:
        # From the empty log over the edge of a tile: each witness checks the path from its last size.
        for count in (1, 2, 254, 43):
            size = await deployment.post(count)
            note = await deployment.serves(size, cosigned_by=(go, ed, pq))
            signatures = verify_policy(note, ORIGIN, parse_policy(policy))
            assert len(signatures) == 4
            stored = await deployment.fetch("SELECT cosigned_at FROM cosignatures WHERE size = $1", size)
            times = {row["cosigned_at"].timestamp() for row in stored}
            assert times == {s.timestamp for s in signatures if s.timestamp is not None}
        for witness in (go, ed, pq):
            assert outcomes(service, witness) == {"cosigned"}
            assert gauge(service, "sayso_ledger_seconds_since_cosignature", witness) < 60
            await until(partial(nothing_is_due, service, witness), what="nothing is due")
    (tmp_path / "checkpoint").write_text(note, encoding="utf-8")
    # The Go tool knows types 01 and 04; the ML-DSA line is one more that it passes over.
    vkeys = [deployment.vkey, go.vkey, ed.vkey]
    report = await asyncio.to_thread(open_note_with_third_party, tmp_path / "checkpoint", vkeys)
    assert "3 signatures verified" in report


async def test_a_checkpoint_is_held_until_two_of_three_have_cosigned_it(
    deployment: WitnessedDeployment, tmp_path: Path
) -> None:
    go = GoWitness("go", deployment.logs, tmp_path / "go")
    first, second = stand_ins(deployment, "first", "second")
    policy = policy_text(go, first, second, rule="2")
    async with running(go, first, second), deployment.witnessed_ledger(policy, hold=True):
        await deployment.serves(0)
        await asyncio.to_thread(first.stop)
        size = await deployment.post(3)
        note = await deployment.serves(size)
        assert len(verify_policy(note, ORIGIN, parse_policy(policy))) >= 2
        await asyncio.to_thread(second.stop)
        # One is not enough: recording and signing go on, and what is shown stays what two have cosigned.
        held = await deployment.post(5)
        await until(lambda: deployment.cosigned(held, go), what="the last witness cosigns")
        assert await deployment.served_size() == size
        returned = time.monotonic()
        await asyncio.to_thread(second.start)
        note = await deployment.serves(held, deadline_s=RETURN_S)
        assert time.monotonic() - returned < RETURN_S
        assert len(verify_policy(note, ORIGIN, parse_policy(policy))) >= 2
        with pytest.raises(ProofError):
            verify_policy(note, ORIGIN, parse_policy(policy_text(go, first, second, rule="all")))


async def test_a_real_witness_cosigns_the_backlog_soon_after_its_return(
    deployment: WitnessedDeployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worst case: as if it had been away for so long that the pauses between two tries grow no more.
    monkeypatch.setattr("services.ledger.evidence.witnesses.FIRST_REST_S", 1e6)
    go = GoWitness("go", deployment.logs, tmp_path / "go")
    async with running(go), deployment.witnessed_ledger(policy_text(go)) as service:
        await deployment.serves(await deployment.post(2), cosigned_by=(go,))
        await asyncio.to_thread(go.stop)
        for _ in range(3):
            size = await deployment.post(100)
        await until(lambda: outcomes(service, go) == {"cosigned", "unavailable"}, what="the ledger notices")
        returned = time.monotonic()
        await asyncio.to_thread(go.start)
        await deployment.serves(size, cosigned_by=(go,), deadline_s=RETURN_S)
        assert time.monotonic() - returned < RETURN_S


async def test_two_ledgers_ask_the_same_witnesses(deployment: WitnessedDeployment) -> None:
    first, second = stand_ins(deployment, "first", "second")
    policy = policy_text(first, second)
    async with (
        running(first, second),
        deployment.witnessed_ledger(policy, hold=True) as one,
        deployment.witnessed_ledger(policy, hold=True) as two,
    ):
        for _ in range(4):
            size = await deployment.post(7)
            await deployment.serves(size, cosigned_by=(first, second))
        for service in (one, two):
            for witness in (first, second):
                # Being told a size that the other ledger brought it to is no alarm.
                assert outcomes(service, witness) <= {"cosigned"}
    assert {state[0] for state in (first.state[ORIGIN], second.state[ORIGIN])} == {size}


async def test_a_ledger_that_starts_again_goes_on_from_the_last_cosignature(deployment: WitnessedDeployment) -> None:
    (witness,) = stand_ins(deployment, "one")
    async with running(witness):
        async with deployment.witnessed_ledger(policy_text(witness)):
            size = await deployment.post(4)
            await deployment.serves(size, cosigned_by=(witness,))
        before = len(witness.requests)
        async with deployment.witnessed_ledger(policy_text(witness)):
            await deployment.serves(await deployment.post(2), cosigned_by=(witness,))
    assert witness.requests[before].startswith(b"old %d\n" % size)
    # Nothing else was needed to find out where it was.
    assert len(witness.requests) <= before + 2


async def test_a_path_is_proved_at_its_own_size_though_the_log_has_grown(deployment: WitnessedDeployment) -> None:
    (witness,) = stand_ins(deployment, "one")
    grown = Event()

    def conflict_once_grown(_server: StandInWitness, _note: str, honest: Reply) -> Reply:
        if honest[0] == 409:
            grown.wait(10)
        return honest

    async with running(witness), deployment.witnessed_ledger(policy_text(witness)):
        await deployment.serves(await deployment.post(3), cosigned_by=(witness,))
        at_three = dict(witness.state)
        await deployment.serves(await deployment.post(2), cosigned_by=(witness,))
        witness.state, witness.misbehave = at_three, conflict_once_grown
        before = len(witness.requests)
        size = await deployment.post(3)
        await until(lambda: len(witness.requests) > before, what="the witness is asked")
        await deployment.post(4)
        # Only now it tells that it is at 3, and the path from there is read from tiles that hold more.
        grown.set()
        await until(lambda: deployment.cosigned(size, witness), what="the older size is cosigned")


async def test_what_had_its_quorum_before_a_crash_is_shown(deployment: WitnessedDeployment) -> None:
    first, second = stand_ins(deployment, "first", "second")
    policy = policy_text(first, second)
    async with running(first, second), deployment.witnessed_ledger(policy, hold=True):
        small = await deployment.post(2)
        await deployment.serves(small)
        large = await deployment.post(2)
        await deployment.serves(large)
        await asyncio.to_thread(second.stop)
        alone = await deployment.post(1)
        await until(lambda: deployment.cosigned(alone, first), what="one of two has cosigned")
    # As if the ledger had died between the cosignature and the showing.
    await deployment.fetch("UPDATE log_heads SET published_size = $1", small)
    async with deployment.witnessed_ledger(policy, hold=True):
        await deployment.serves(large)
        # The witnesses are away: it stays at the largest with a quorum.
        assert await deployment.served_size() == large


async def test_without_a_hold_everything_is_shown_again(deployment: WitnessedDeployment) -> None:
    (witness,) = stand_ins(deployment, "away")
    async with deployment.witnessed_ledger(policy_text(witness), hold=True):
        size = await deployment.post(2)
        assert await deployment.served() is None
    async with deployment.ledger():
        await deployment.serves(size)


async def test_a_log_that_the_policy_does_not_list_is_neither_sent_nor_held(deployment: WitnessedDeployment) -> None:
    (witness,) = stand_ins(deployment, "one")
    other = log_key("log.example/logs/other", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    policy = policy_text(witness, logs=(str(other),))
    async with running(witness), deployment.witnessed_ledger(policy, hold=True):
        await deployment.serves(await deployment.post(2))
    assert witness.requests == []


REFUSED = {
    "hold-without-policy": (None, True, "set SAYSO_WITNESS_POLICY_FILE"),
    "hold-with-quorum-none": ("quorum none\n", True, "quorum is none"),
    "hold-for-witnesses-without-address": ("witness {name} {vkey}\nquorum {name}\n", True, "cannot make the quorum"),
    "no-such-file": ("", False, "cannot be used"),
    "a-broken-line": ("witness {name}\nquorum none\n", False, "line 1 of the policy"),
    "no-address": ("witness {name} {vkey} witness.example\nquorum {name}\n", False, "submission prefix"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_the_ledger_refuses_to_start(deployment: WitnessedDeployment, name: str) -> None:
    text, hold, sentence = REFUSED[name]
    (witness,) = stand_ins(deployment, "one")
    if text:
        deployment.policy_file.write_text(text.format(name=witness.name, vkey=witness.vkey))
    path = None if text is None else deployment.policy_file
    with pytest.raises(ConfigurationError, match=sentence):
        async with deployment.ledger(witness_policy_file=path, witness_hold=hold):
            pass


async def test_the_doctor_says_whose_quorum_is_missing(
    deployment: WitnessedDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said() -> tuple[str, str]:
        (finding,) = [finding for finding in await examine() if finding.subject == "witnesses"]
        return finding.state, finding.text

    monkeypatch.setenv("SAYSO_ADMIN_DATABASE_URL", deployment.database.dsn())
    monkeypatch.setattr("services.cli.doctor.COSIGNED_WITHIN_S", 0)
    first, second = stand_ins(deployment, "first", "second")
    assert await said() == ("not checked", "SAYSO_WITNESS_POLICY_FILE is not set here")
    monkeypatch.setenv("SAYSO_WITNESS_POLICY_FILE", str(deployment.policy_file))
    async with running(first, second), deployment.witnessed_ledger(policy_text(first, second)):
        await deployment.serves(await deployment.post(2), cosigned_by=(first, second))
        assert await said() == ("ok", "1 logs, each with a quorum of cosignatures")
        await asyncio.to_thread(second.stop)
        await deployment.serves(await deployment.post(1), cosigned_by=(first,))
        state, text = await said()
        assert (state, text.partition(":")[0]) == ("not ok", "log shop")
    deployment.policy_file.write_text("quorum\n")
    state, text = await said()
    assert state == "not ok"
    assert "line 1 of the policy" in text
