"""One bit of a mirrored log is changed: verifying the mirror finds it. A seeded few hundred; all in tests/exhaustive.

And what no verifying of one tree can find, because everything was made to fit and signed again by the log's own key:
whoever kept an older checkpoint finds it.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.canonical import canonical_json
from schemas.checkpoint import Checkpoint, open_checkpoint, signed_checkpoint
from schemas.consistency import verify_with_tiles
from schemas.errors import LogForked, ProofError
from schemas.merkle import leaf_hash, root_of
from schemas.note import parse_verifier_key
from schemas.record import NO_PREVIOUS, read_entry
from schemas.tiles import decode_bundle, parse_tile_path
from services.keys import signing_key
from tests.support.databases import SchemaTemplate, drop_database
from tests.support.log_files import write, write_log
from tests.support.mirrored_sample import recorded, six_hundred
from tests.support.sample_log import SampleLog
from tests.support.single_bits import MirroredLog, read_files

pytestmark = pytest.mark.fault

OLDER = 291


@pytest.fixture(scope="module")
async def real(
    schema_template: SchemaTemplate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[SampleLog, MirroredLog]]:
    """A log that a real ledger recorded, and its files. Nobody changes either."""
    database = schema_template.clone()
    yield await recorded(database, tmp_path_factory.mktemp("real"))
    drop_database(database)


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_bit_of_the_600_entry_log_is_found(tmp_path: Path, seed: int) -> None:
    log = six_hundred(tmp_path)
    assert log.verify(log.files) == 600
    assert log.missed(log.some_places(seed, 150)) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_bit_of_a_real_log_is_found(real: tuple[SampleLog, MirroredLog], seed: int) -> None:
    _, log = real
    assert log.verify(log.files) == 582
    assert log.missed(log.some_places(seed, 100)) == []


def entries_of(log: MirroredLog) -> list[bytes]:
    bundles = sorted(path for path in log.files if path.startswith("tile/entries/"))
    return [entry for path in bundles for entry in decode_bundle(log.files[path], parse_tile_path(path).width)]


def chained(entries: list[bytes]) -> list[bytes]:
    """The same entries, numbered and chained anew."""
    fresh: list[bytes] = []
    prev = NO_PREVIOUS
    for index, entry in enumerate(entries):
        fresh.append(canonical_json({**read_entry(entry), "index": index, "prev": prev}))
        prev = leaf_hash(fresh[-1]).hex()
    return fresh


def changed_entry(entries: list[bytes]) -> list[bytes]:
    value = {**read_entry(entries[100]), "commitment": "00" * 32}
    return chained([*entries[:100], canonical_json(value), *entries[101:]])


FORGERIES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "dropped": lambda entries: chained(entries[:100] + entries[101:]),
    "added": lambda entries: chained([*entries[:100], entries[99], *entries[100:]]),
    "swapped": lambda entries: chained([*entries[:100], entries[101], entries[100], *entries[102:]]),
    "chained-again": changed_entry,
    "truncated-and-grown": lambda entries: chained(entries[:200] + entries[300:] + entries[-100:]),
}


def signed_again(sample: SampleLog, log: MirroredLog, entries: list[bytes], prefix: Path) -> MirroredLog:
    """A whole mirror of these entries, signed with the log's own key."""
    key: Ed25519PrivateKey = signing_key(sample.deployment.keys / "ledger" / "logs" / "shop.key")
    write_log(prefix, entries)
    root = root_of([leaf_hash(entry) for entry in entries])
    write(prefix / "checkpoint", signed_checkpoint(Checkpoint(log.origin, len(entries), root), key).encode())
    return MirroredLog(read_files(prefix), log.origin, log.vkeys, foreign=False)


async def opened(sample: SampleLog, log: MirroredLog, size: int | None = None) -> Checkpoint:
    """The mirror's checkpoint, or the one of `size` that somebody kept."""
    note = log.files["checkpoint"]
    if size is not None:
        (row,) = await sample.deployment.fetch(
            "SELECT c.note FROM checkpoints c JOIN logs l USING (controller, log)"
            " WHERE l.name = 'shop' AND c.size = $1",
            size,
        )
        note = row["note"].encode()
    return open_checkpoint(note, log.origin, [parse_verifier_key(vkey) for vkey in log.vkeys])


async def test_the_log_that_was_not_changed_begins_with_what_was_kept(real: tuple[SampleLog, MirroredLog]) -> None:
    sample, log = real
    verify_with_tiles(await opened(sample, log, OLDER), await opened(sample, log), log.files.get)


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_another_history_is_found_against_an_older_checkpoint(
    real: tuple[SampleLog, MirroredLog], tmp_path: Path, forgery: Callable[[list[bytes]], list[bytes]]
) -> None:
    sample, log = real
    forged = signed_again(sample, log, forgery(entries_of(log)), tmp_path)
    # By itself it is as good as the true one.
    assert forged.verify(forged.files) > OLDER
    older, newer = await opened(sample, log, OLDER), await opened(sample, forged)
    with pytest.raises(LogForked):
        verify_with_tiles(older, newer, forged.files.get)


async def test_a_log_cut_short_is_found_against_an_older_checkpoint(
    real: tuple[SampleLog, MirroredLog], tmp_path: Path
) -> None:
    sample, log = real
    forged = signed_again(sample, log, entries_of(log)[:200], tmp_path)
    assert forged.verify(forged.files) == 200
    with pytest.raises(ProofError, match="old size is above the new size"):
        verify_with_tiles(await opened(sample, log, OLDER), await opened(sample, forged), forged.files.get)
