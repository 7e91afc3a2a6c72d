"""One class of tests over every witness: the real one of transparency-dev, twice, and the stand-in of the fault tests.

Each is asked by the ledger's own client, for a log that is made here with schemas alone. What only a misbehaving
witness does is in TestAnswers, which needs the stand-in.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.checkpoint import Checkpoint, signed_checkpoint
from schemas.errors import CheckpointError, ConfigurationError
from schemas.merkle import leaf_hash, root_of
from schemas.note import log_key, parse_verifier_key
from schemas.policy import PolicyWitness, parse_policy, verify_policy
from schemas.vectors.generate import HERE as VECTORS
from services.ledger.evidence.witness_client import (
    ANSWER_BYTES_MAX,
    Answer,
    Outcome,
    WitnessClient,
    cosignature_line,
    request_body,
    submission_url,
)
from tests.interop.third_party import open_note_with_third_party
from tests.support import oracle, witness
from tests.support.witness import ED25519, ML_DSA, GoWitness, StandInWitness, WitnessServer, policy_text

# The first build of the Go programs on a machine.
pytestmark = [pytest.mark.contract, pytest.mark.timeout(700)]

ORIGIN = "example.com/consent-log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = str(log_key(ORIGIN, KEY))
LOGS = {ORIGIN: VKEY}
LEAVES = [leaf_hash(b"entry %d" % n) for n in range(70)]
FORK = [leaf_hash(b"other %d" % n) for n in range(70)]


def note_of(size: int, leaves: Sequence[bytes] = LEAVES, *, origin: str = ORIGIN, key: Ed25519PrivateKey = KEY) -> str:
    # An empty list has no root of its own.
    root = root_of(list(leaves[:size])) if size else oracle.EMPTY
    return signed_checkpoint(Checkpoint(origin, size, root), key)


@asynccontextmanager
async def asking(server: WitnessServer) -> AsyncIterator[WitnessClient]:
    async with httpx2.AsyncClient() as http:
        yield WitnessClient(http, PolicyWitness(server.name, parse_verifier_key(server.vkey), server.url))


async def ask(client: WitnessClient, old: int, new: int, leaves: Sequence[bytes] = LEAVES) -> Answer:
    path = oracle.proof(old, leaves[:new])
    return await client.add_checkpoint(old, path, note_of(new, leaves), signed_at=time.time())


@pytest.fixture(params=["go-ed25519", "go-ml-dsa-44", "stand-in-ed25519", "stand-in-ml-dsa-44"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WitnessServer]:
    kind = ED25519 if request.param.endswith("ed25519") else ML_DSA
    server: WitnessServer
    if request.param.startswith("go"):
        server = GoWitness("w1", LOGS, tmp_path / "w1", kind=kind)
    else:
        server = StandInWitness("w1", LOGS, kind=kind)
    server.start()
    yield server
    server.stop()


class TestWitness:
    async def test_cosigns_a_growing_log_from_its_empty_checkpoint_on(self, server: WitnessServer) -> None:
        policy = parse_policy(policy_text(server, logs=(VKEY,)))
        async with asking(server) as client:
            for old, new in ((0, 0), (0, 1), (1, 2), (2, 3), (3, 7), (7, 64), (64, 70)):
                answer = await ask(client, old, new)
                assert answer.outcome is Outcome.COSIGNED, (old, new)
                assert abs(answer.cosigned_at - time.time()) < 60
                signatures = verify_policy(note_of(new) + answer.line, ORIGIN, policy)
                assert [signature.timestamp for signature in signatures] == [None, answer.cosigned_at]

    async def test_cosigns_the_same_size_again(self, server: WitnessServer) -> None:
        async with asking(server) as client:
            assert (await ask(client, 0, 5)).outcome is Outcome.COSIGNED
            assert (await ask(client, 5, 5)).outcome is Outcome.COSIGNED

    async def test_says_its_size_when_asked_from_another(self, server: WitnessServer) -> None:
        async with asking(server) as client:
            await ask(client, 0, 5)
            assert await ask(client, 3, 9) == Answer(Outcome.CONFLICT, size=5)
            assert await ask(client, 0, 9) == Answer(Outcome.CONFLICT, size=5)
            assert (await ask(client, 5, 9)).outcome is Outcome.COSIGNED
            assert await ask(client, 5, 9) == Answer(Outcome.CONFLICT, size=9)

    async def test_remembers_over_a_restart(self, server: WitnessServer) -> None:
        async with asking(server) as client:
            await ask(client, 0, 5)
            await asyncio.to_thread(server.stop)
            assert (await ask(client, 5, 6)).outcome is Outcome.UNAVAILABLE
            await asyncio.to_thread(server.start)
            assert (await ask(client, 4, 6)) == Answer(Outcome.CONFLICT, size=5)
            assert (await ask(client, 5, 6)).outcome is Outcome.COSIGNED

    async def test_refuses_another_tree(self, server: WitnessServer) -> None:
        async with asking(server) as client:
            await ask(client, 0, 5)
            assert (await ask(client, 5, 5, FORK)).outcome is Outcome.INCONSISTENT
            assert (await ask(client, 5, 9, FORK)).outcome is Outcome.INCONSISTENT
            assert (await ask(client, 5, 9)).outcome is Outcome.COSIGNED

    async def test_refuses_what_is_not_a_growth(self, server: WitnessServer) -> None:
        async with asking(server) as client:
            await ask(client, 0, 5)
            answer = await client.add_checkpoint(5, [], note_of(4), signed_at=time.time())
            assert answer.outcome is Outcome.MALFORMED

    async def test_refuses_strangers(self, server: WitnessServer) -> None:
        other = Ed25519PrivateKey.from_private_bytes(bytes(32))
        async with asking(server) as client:
            unknown = note_of(5, origin="example.com/other-log")
            assert (await client.add_checkpoint(0, [], unknown, signed_at=0)).outcome is Outcome.UNKNOWN_LOG
            unsigned = note_of(5, key=other)
            answer = await client.add_checkpoint(0, [], unsigned, signed_at=0)
            # The Go witness answers 500 where the protocol says 403: it tells the two apart only inside.
            assert answer.outcome is (Outcome.UNAVAILABLE if isinstance(server, GoWitness) else Outcome.FORBIDDEN)


def _redirect() -> witness.Misbehaviour:
    return lambda server, _note, _reply: (307, b"", {"location": f"{server.url}/add-checkpoint"})


MISBEHAVIOURS = {
    "another-key-under-its-name": (witness.stranger_line, Outcome.WRONG_ANSWER),
    "signature-over-another-root": (witness.forged_line, Outcome.WRONG_ANSWER),
    "text-of-its-own": (witness.own_text, Outcome.WRONG_ANSWER),
    "a-year-ahead": (witness.at_time(365 * 86400), Outcome.WRONG_TIME),
    "ten-minutes-ahead": (witness.at_time(600), Outcome.WRONG_TIME),
    "before-the-checkpoint-was-signed": (witness.at_time(-600), Outcome.WRONG_TIME),
    "in-1970": (witness.at_time(-(10**10)), Outcome.WRONG_TIME),
    "nothing": (witness.always(200), Outcome.WRONG_ANSWER),
    "no-line": (witness.always(200, b"OK\n"), Outcome.WRONG_ANSWER),
    "line-without-newline": (
        lambda server, note, reply: (200, reply[1].rstrip(b"\n"), {}),
        Outcome.WRONG_ANSWER,
    ),
    "not-utf-8": (witness.always(200, b"\xff\xfe\n"), Outcome.WRONG_ANSWER),
    # Its own true line, and beside it one of a key that nobody knows, which alone is past the limit.
    "too-long": (
        lambda server, note, reply: (
            200,
            reply[1] + "\u2014 a ".encode() + b"AAAA" * (ANSWER_BYTES_MAX // 4) + b"\n",
            {},
        ),
        Outcome.WRONG_ANSWER,
    ),
    "a-page": (witness.always(200, b"<html>\n\n</html>\n"), Outcome.WRONG_ANSWER),
    "redirect": (_redirect(), Outcome.WRONG_ANSWER),
    "no-content": (witness.always(204), Outcome.WRONG_ANSWER),
    "teapot": (witness.always(418), Outcome.WRONG_ANSWER),
    "overloaded": (witness.always(429), Outcome.UNAVAILABLE),
    "broken": (witness.always(500, b"x" * 100), Outcome.UNAVAILABLE),
    "conflict-without-size": (witness.always(409), Outcome.CONFLICT),
    "conflict-with-a-signed-size": (witness.always(409, b"+3\n"), Outcome.CONFLICT),
    "conflict-with-digits-of-another-script": (witness.always(409, "\u0663\n".encode()), Outcome.CONFLICT),
}


class TestAnswers:
    @pytest.fixture(params=[ED25519, ML_DSA], ids=["ed25519", "ml-dsa-44"])
    def stand_in(self, request: pytest.FixtureRequest) -> Iterator[StandInWitness]:
        server = StandInWitness("w1", LOGS, kind=request.param)
        server.start()
        yield server
        server.stop()

    @pytest.mark.parametrize("name", MISBEHAVIOURS)
    async def test_nothing_wrong_is_kept(self, stand_in: StandInWitness, name: str) -> None:
        stand_in.misbehave, outcome = MISBEHAVIOURS[name]
        async with asking(stand_in) as client:
            answer = await ask(client, 0, 3)
        assert answer == Answer(outcome)
        # The answer came from the misbehaviour, not from a request that never arrived; a redirect was not followed.
        assert len(stand_in.requests) == 1

    async def test_an_older_cosignature_is_not_one_of_this_checkpoint(self, stand_in: StandInWitness) -> None:
        stand_in.misbehave = witness.first_answer_again()
        async with asking(stand_in) as client:
            assert (await ask(client, 0, 3)).outcome is Outcome.COSIGNED
            assert (await ask(client, 3, 4)) == Answer(Outcome.WRONG_ANSWER)

    async def test_a_slow_witness_is_given_up(self, stand_in: StandInWitness, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.ledger.evidence.witness_client.ANSWER_S", 0.2)
        stand_in.quick.clear()
        async with asking(stand_in) as client:
            assert await ask(client, 0, 3) == Answer(Outcome.UNAVAILABLE)
        assert len(stand_in.requests) == 1

    async def test_lines_of_unknown_keys_are_left_out(self, stand_in: StandInWitness) -> None:
        stranger = witness.cosign("x\n1\ny\n", "stranger.example/w", ED25519, bytes(32), 1).encode()
        stand_in.misbehave = lambda _server, _note, reply: (reply[0], stranger + reply[1] + stranger, {})
        async with asking(stand_in) as client:
            answer = await ask(client, 0, 3)
        assert answer.outcome is Outcome.COSIGNED
        assert answer.line.count("\n") == 1
        assert answer.line.startswith("\u2014 witness.example/w1 ")

    async def test_the_size_in_a_conflict_is_read(self, stand_in: StandInWitness) -> None:
        stand_in.misbehave = witness.always(409, b"9223372036854775807\n")
        async with asking(stand_in) as client:
            assert await ask(client, 0, 3) == Answer(Outcome.CONFLICT, size=2**63 - 1)


def test_a_body_past_the_limit_is_longer_than_any_honest_one() -> None:
    # 16 signatures, the least that every reader of notes must take, all of the larger kind.
    assert ANSWER_BYTES_MAX > 16 * 3400


def test_the_request_is_the_vector_byte_for_byte() -> None:
    entries = [leaf_hash(letter) for letter in (b"a", b"b", b"c")]
    note = (VECTORS / "checkpoints" / "happy-path-log-only.txt").read_text(encoding="utf-8")
    expected = (VECTORS / "witness" / "add-checkpoint-2-3.txt").read_bytes()
    assert request_body(2, oracle.proof(2, entries), note) == expected
    assert request_body(0, [], note) == b"old 0\n\n" + note.encode()


@pytest.mark.parametrize("name", ["happy-path-cosigned", "happy-path-ml-dsa-44"])
def test_the_vectors_cosignatures_are_taken(name: str) -> None:
    note = (VECTORS / "checkpoints" / "happy-path-log-only.txt").read_text(encoding="utf-8")
    cosigned = (VECTORS / "checkpoints" / f"{name}.txt").read_text(encoding="utf-8")
    vkey = "witness.example.com/w1+969980cf+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
    if "ml-dsa" in name:
        vkey = (VECTORS / "checkpoints" / "ml-dsa-44.vkey").read_text(encoding="utf-8").strip()
    line, signature = cosignature_line(note, cosigned.removeprefix(note), parse_verifier_key(vkey))
    assert note + line == cosigned
    assert signature.timestamp == 1767225600
    with pytest.raises(CheckpointError):
        cosignature_line(note.replace("\n3\n", "\n4\n"), line, parse_verifier_key(vkey))


@pytest.mark.parametrize("url", ["", "ftp://witness.example", "https://", "witness.example/w1", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    key = parse_verifier_key(StandInWitness("w1", LOGS).vkey)
    with pytest.raises(ConfigurationError, match="submission prefix"):
        submission_url(PolicyWitness("w1", key, url))


@pytest.mark.parametrize("prefix", ["https://witness.example/w1", "https://witness.example/w1/"])
def test_the_address_is_below_the_prefix(prefix: str) -> None:
    key = parse_verifier_key(StandInWitness("w1", LOGS).vkey)
    assert str(submission_url(PolicyWitness("w1", key, prefix))) == "https://witness.example/w1/add-checkpoint"


async def test_third_party_tools_open_what_two_witnesses_cosigned(tmp_path: Path) -> None:
    servers = (GoWitness("w1", LOGS, tmp_path / "w1"), StandInWitness("w2", LOGS))
    note = note_of(5)
    for server in servers:
        server.start()
        try:
            async with asking(server) as client:
                note += (await client.add_checkpoint(0, [], note_of(5), signed_at=time.time())).line
        finally:
            server.stop()
    (tmp_path / "checkpoint").write_text(note, encoding="utf-8")
    vkeys = [VKEY, *(server.vkey for server in servers)]
    assert "3 signatures verified" in await asyncio.to_thread(
        open_note_with_third_party, tmp_path / "checkpoint", vkeys
    )
