"""Ask witnesses to cosign what was signed (C2SP tlog-witness), and show what a quorum of them has agreed to.

All witnesses of a log are asked for one checkpoint at a time, or under load no two would ever cosign the same. Asking
is beside recording and signing: whatever a witness does, neither waits for it, nor does any other witness.
Invariant: only verified cosignatures are kept; what is shown is the largest checkpoint with a quorum.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import httpx2

from schemas.errors import ConfigurationError, ProofError
from schemas.merkle import HASH_BYTES, consistency_path
from schemas.policy import Policy, parse_policy
from schemas.tiles import tile_nodes
from services.ledger.evidence.witness_client import Answer, Outcome, WitnessClient, submission_url
from services.ledger.evidence.witness_store import LogId, WitnessStore
from services.ledger.metrics import LedgerMetrics
from services.ledger.store import Store
from services.observability import describe, get_logger
from services.postgres import Pool, PooledConnection

# Pause before a witness that failed is asked again: the first, and the longest that doubling leads to. With ANSWER_S
# it bounds the time from a witness's return to its first cosignature.
FIRST_REST_S: Final = 0.25
REST_S_MAX: Final = 4.0
# Sizes a witness may correct us to within one exchange; two ledgers need one correction now and then.
TRIES_MAX: Final = 3
ASKED_AT_ONCE: Final = 4
# Connections to the database at a time: most of the pool is for recording.
CONNECTIONS_MAX: Final = 2
# What an operator must look at: somebody saw another tree, or more of it than there is.
ALARMING: Final = {Outcome.AHEAD, Outcome.INCONSISTENT}

_log = get_logger()


def load_policy(path: Path | None, *, hold: bool) -> Policy | None:
    """The policy of a deployment, None without a file.

    Raises ConfigurationError for a file that cannot be read, an address that is none, and a hold that nothing can end.
    """
    if path is None:
        if hold:
            raise ConfigurationError("checkpoints are to be held for witnesses: set SAYSO_WITNESS_POLICY_FILE as well")
        return None
    try:
        policy = parse_policy(path.read_bytes())
    except (OSError, ProofError) as error:
        raise ConfigurationError(f"the witness policy {path} cannot be used: {error}") from None
    reachable = [witness for witness in policy.witnesses if witness.url is not None]
    for witness in reachable:
        submission_url(witness)
    if hold and policy.quorum is None:
        raise ConfigurationError("checkpoints are to be held for witnesses, and the policy's quorum is none: name one")
    if hold and not policy.is_met([witness.name for witness in reachable]):
        raise ConfigurationError(
            "the witnesses with an address cannot make the quorum: give each that it needs its submission prefix"
        )
    return policy


@dataclass(slots=True)
class _Round:
    """The one checkpoint of a log that all witnesses are asked for now. cosigned: places of those who have."""

    size: int
    cosigned: set[int]


@dataclass(slots=True)
class _Rest:
    """After `until` (monotonic seconds) the next try; `pause` is how long this rest was."""

    pause: float = 0.0
    until: float = 0.0

    def extend(self) -> None:
        """Rest for twice as long as before."""
        self.pause = min(max(FIRST_REST_S, 2 * self.pause), REST_S_MAX)
        self.until = time.monotonic() + self.pause


@dataclass(slots=True)
class _Peer:
    """What is known of one witness. `place` is its number in the store's keys; only tasks of ours touch it."""

    place: int
    client: WitnessClient
    gate: asyncio.Semaphore
    # Not reachable at all: nothing is sent for any log.
    rest: _Rest = field(default_factory=_Rest)
    # Reachable, but it would not cosign this log.
    log_rests: dict[LogId, _Rest] = field(default_factory=dict)
    # The size it is believed to be at; read from its cosignatures at first, corrected by what it says.
    sizes: dict[LogId, int] = field(default_factory=dict)
    # What was last logged, so that a witness that stays away is one line and not one a log and try.
    said: dict[LogId, Outcome] = field(default_factory=dict)
    said_away: bool = False
    # Checkpoints it is being asked for.
    asking: dict[LogId, tuple[int, "asyncio.Task[None]"]] = field(default_factory=dict)

    def rests(self, log: LogId) -> bool:
        """Whether it is too early to ask for this log."""
        until = max(self.rest.until, self.log_rests[log].until if log in self.log_rests else 0.0)
        return time.monotonic() < until


class Witnesses:
    """The witnesses of one ledger process; several ledgers may ask the same ones."""

    def __init__(self, pool: Pool, policy: Policy, metrics: LedgerMetrics, *, hold: bool) -> None:
        """`hold`: checkpoints are shown from here, once the quorum is met; else they are shown when signed."""
        self._pool = pool
        self._policy = policy
        self._metrics = metrics
        self._hold = hold
        # Directly: a proxy named in the environment would be one more party that can hold cosignatures back.
        self._http = httpx2.AsyncClient(follow_redirects=False, trust_env=False, headers={"user-agent": "sayso-ledger"})
        reachable = [witness for witness in policy.witnesses if witness.url is not None]
        self._keys = [witness.key for witness in reachable]
        self._peers = [
            _Peer(place, WitnessClient(self._http, witness), asyncio.Semaphore(ASKED_AT_ONCE))
            for place, witness in enumerate(reachable)
        ]
        self._rounds: dict[LogId, _Round] = {}
        self._connections = asyncio.Semaphore(CONNECTIONS_MAX)
        # Whether everything that had a quorum before now is shown.
        self._recovered = False
        metrics.watch_witnesses([witness.name for witness in reachable], list(Outcome))

    async def work(self) -> int:
        """Ask for what is due, in tasks of their own; how many asks were started.

        1. Show what had its quorum before a crash; 2. list the logs that lack a cosignature; 3. choose the checkpoint
        that each log's witnesses are asked for; 4. ask those that have not cosigned it, are not busy and do not rest.
        """
        async with self._connection() as connection:
            if self._hold:
                try:
                    await self._show_held(connection)
                except asyncpg.LockNotAvailableError:
                    _log.warning("Another ledger holds the head of a log; showing its checkpoint in the next round.")
            due = await WitnessStore(connection, self._keys).uncosigned_logs()
        started = 0
        lacking = [0] * len(self._peers)
        for row, cosigned in due:
            log = row["controller"], row["log"]
            if not self._policy.accepts_log(row["origin"]):
                continue
            target = self._choose(log, row["size"], cosigned)
            for peer in self._peers:
                lacking[peer.place] += peer.place not in cosigned
                if peer.place in target.cosigned or log in peer.asking or peer.rests(log):
                    continue
                task = asyncio.create_task(self._ask(peer, log, row["name"], target))
                peer.asking[log] = target.size, task
                task.add_done_callback(partial(_forget, peer, log))
                started += 1
        for peer in self._peers:
            self._metrics.uncosigned.labels(peer.client.witness.name).set(lacking[peer.place])
        return started

    async def stop(self) -> None:
        """Give up what is asked for; the next start asks again."""
        tasks = [task for peer in self._peers for _, task in peer.asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    def _choose(self, log: LogId, signed_size: int, cosigned: set[int]) -> _Round:
        """Stay with a checkpoint until its quorum is met or nobody is being asked for it any more, then the newest."""
        current = self._rounds.get(log)
        if current is None or (
            signed_size > current.size
            and (
                self._is_met(current.cosigned)
                or not any(peer.asking.get(log, (None,))[0] == current.size for peer in self._peers)
            )
        ):
            current = self._rounds[log] = _Round(signed_size, set(cosigned))
        return current

    def _is_met(self, cosigned: set[int]) -> bool:
        return self._policy.is_met({self._peers[place].client.witness.name for place in cosigned})

    async def _ask(self, peer: _Peer, log: LogId, log_name: str, target: _Round) -> None:
        """Ask one witness for one checkpoint and remember how it went."""
        async with peer.gate:
            if peer.rests(log):
                return
            try:
                outcome = await self._submit(peer, log, target)
            except Exception as error:  # noqa: BLE001 - nothing that an answer leads to may stop recording and signing
                _log.warning("A witness could not be asked.", log=log_name, **describe(error))
                peer.log_rests.setdefault(log, _Rest()).extend()
                # It may have been on the point of showing a checkpoint.
                self._recovered = False
                return
        if outcome is None or outcome is Outcome.SUPERSEDED:
            return
        name = peer.client.witness.name
        self._metrics.cosignatures.labels(name, outcome).inc()
        if outcome is Outcome.UNAVAILABLE:
            peer.rest.extend()
        else:
            peer.rest = _Rest()
        if outcome is Outcome.COSIGNED:
            peer.log_rests.pop(log, None)
            self._metrics.cosigned_now(name)
        elif outcome is not Outcome.UNAVAILABLE:
            peer.log_rests.setdefault(log, _Rest()).extend()
        self._say(peer, log, log_name, outcome)

    def _say(self, peer: _Peer, log: LogId, log_name: str, outcome: Outcome) -> None:
        """A line whenever it goes another way than before; a witness that does its work says nothing."""
        away = outcome is Outcome.UNAVAILABLE
        if away:
            changed = not peer.said_away
        else:
            changed = peer.said_away or peer.said.get(log, Outcome.COSIGNED) is not outcome
            peer.said[log] = outcome
        peer.said_away = away
        if changed:
            tell = _log.error if outcome in ALARMING else _log.info if outcome is Outcome.COSIGNED else _log.warning
            witness = peer.client.witness.name
            tell("A witness answers otherwise than before.", witness=witness, log=log_name, outcome=str(outcome))

    async def _submit(self, peer: _Peer, log: LogId, target: _Round) -> Outcome | None:
        """Send a checkpoint, from the size that the witness is at, and keep its cosignature; None if it had one.

        A crash after the witness's answer loses the cosignature: it is asked again, and cosigns the same size again.
        """
        key = peer.client.witness.key
        async with self._connection() as connection:
            store = WitnessStore(connection, self._keys)
            row = await store.submission(log, target.size, key)
            if row is None or row["cosigned"]:  # another ledger asked
                await self._agreed(connection, peer, log, target)
                return None
            if log not in peer.sizes:
                peer.sizes[log] = await store.cosigned_size(log, key)
        answer = await self._converse(peer, log, target.size, row["note"], row["signed_at"].timestamp())
        if answer.outcome is Outcome.COSIGNED:
            peer.sizes[log] = target.size
            async with self._connection() as connection:
                store = WitnessStore(connection, self._keys)
                await store.add_cosignature(log, target.size, key, answer.line, answer.cosigned_at)
                await self._agreed(connection, peer, log, target)
        return answer.outcome

    async def _converse(self, peer: _Peer, log: LogId, size: int, note: str, signed_at: float) -> Answer:
        """Ask for `size`, again from the size that the witness says it is at, until it says something else."""
        for _ in range(TRIES_MAX):
            old = peer.sizes[log]
            if old > size:
                return Answer(await self._beyond(peer, log))
            path = await self._path(log, old, size)
            answer = await peer.client.add_checkpoint(old, path, note, signed_at=signed_at)
            if answer.outcome is not Outcome.CONFLICT:
                return answer
            if answer.size is None or answer.size == old:
                # It denies the very size it is at: its root there is another (v1.0.0 of the protocol says so by 409).
                return Answer(Outcome.INCONSISTENT if old == size else Outcome.WRONG_ANSWER)
            if answer.size < old:
                self._metrics.cosignatures.labels(peer.client.witness.name, Outcome.FORGOT).inc()
            peer.sizes[log] = answer.size
        return Answer(Outcome.CONFLICT)

    async def _beyond(self, peer: _Peer, log: LogId) -> Outcome:
        """The witness is past what it was asked for: past what was ever signed here, or another ledger was quicker."""
        async with self._connection() as connection:
            head = await Store(connection).head(*log)
        if head is not None and (head["signed_size"] or 0) >= peer.sizes[log]:
            return Outcome.SUPERSEDED
        # Whatever it claims, its own cosignatures are where the next try begins.
        del peer.sizes[log]
        return Outcome.AHEAD

    async def _path(self, log: LogId, old: int, new: int) -> list[bytes]:
        """The consistency path from the log's tiles. Raises ProofError when one is missing or too short.

        1. Walk the path with empty hashes: which tiles it needs does not depend on what they hold; 2. read those with
        one statement; 3. walk again.
        """
        needed: list[tuple[int, int]] = []

        def note(level: int, n: int, width: int) -> bytes:
            needed.append((level, n))
            return bytes(width * HASH_BYTES)

        consistency_path(old, new, tile_nodes(new, note))
        if not needed:
            return []
        async with self._connection() as connection:
            tiles = await Store(connection).tiles(*log, needed)
        # A row may have grown past the size that is proved.
        return consistency_path(
            old, new, tile_nodes(new, lambda level, n, width: tiles.get((level, n), b"")[: width * HASH_BYTES])
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PooledConnection]:
        """A connection, leaving most of them to recording."""
        async with self._connections, self._pool.acquire() as connection:
            yield connection

    async def _agreed(self, connection: PooledConnection, peer: _Peer, log: LogId, target: _Round) -> None:
        """A cosignature is stored: show its checkpoint if it completes the quorum.

        Of two ledgers the one that looks last sees the cosignatures of both. A crash before leaves it to `_show_held`.
        """
        target.cosigned.add(peer.place)
        if self._hold and self._is_met(await WitnessStore(connection, self._keys).cosigners(log, target.size)):
            await Store(connection).show_checkpoint(*log, target.size)

    async def _show_held(self, connection: PooledConnection) -> None:
        """Show what has its quorum since before this process, and logs that the policy is not about."""
        if self._recovered and not self._policy.logs:
            return
        store, witness_store = Store(connection), WitnessStore(connection, self._keys)
        for row in await witness_store.held_logs():
            log = row["controller"], row["log"]
            if not self._policy.accepts_log(row["origin"]):
                await store.show_checkpoint(*log, row["size"])
            elif not self._recovered:
                agreed = [size for size, cosigned in await witness_store.held_sizes(log) if self._is_met(cosigned)]
                if agreed:
                    await store.show_checkpoint(*log, max(agreed))
        self._recovered = True


async def show_all(pool: Pool) -> None:
    """Show the last checkpoint of every log: nothing is held any more."""
    async with pool.acquire() as connection:
        for row in await WitnessStore(connection, []).held_logs():
            await Store(connection).show_checkpoint(row["controller"], row["log"], row["size"])


def _forget(peer: _Peer, log: LogId, _task: "asyncio.Task[None]") -> None:
    peer.asking.pop(log, None)
