"""What every place for a mirror must do, over a directory, a real S3 store (versitygw) and moto."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError, MirrorAway, ProofError
from services.cli.publish.directory import DirectoryTarget
from services.cli.publish.run import target_of
from services.cli.publish.target import Target
from tests.support.buckets import BUCKET, client_of, environment_of, real_store, stand_in

# The first run on a machine builds the store.
pytestmark = [pytest.mark.contract, pytest.mark.timeout(900)]

STORES = {"versitygw": real_store, "moto": stand_in}
TILE, BUNDLE = "tile/0/000.p/2", "tile/entries/000.p/2"


@pytest.fixture(scope="module", params=["directory", *STORES])
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address below which each test has a mirror of its own."""
    if request.param == "directory":
        yield str(tmp_path_factory.mktemp("mirrors"))
        return
    async with STORES[request.param]() as endpoint:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment_of(endpoint).items():
                patch.setenv(name, value)
            yield f"s3://{BUCKET}"


@pytest.fixture
async def make(place: str, request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Target]]:
    """Makes targets of one mirror; closes them at the end."""
    made: list[Target] = []

    def one() -> Target:
        made.append(target_of(f"{place}/logs/{request.node.originalname}"))
        return made[-1]

    yield one
    for target in made:
        await target.close()


@pytest.fixture
async def target(make: Callable[[], Target]) -> Target:
    target = make()
    await target.open()
    return target


async def test_what_was_stored_is_read_by_the_next(target: Target, make: Callable[[], Target]) -> None:
    content = bytes(range(256)) * 32
    assert await target.get(TILE) is None
    assert await target.add(TILE, content)
    assert await target.add(BUNDLE, content)
    await target.put("vkey", b"one\n")
    await target.put("vkey", b"two\n")
    await target.settle()
    await target.close()
    other = make()
    await other.open()
    assert [await other.get(path) for path in (TILE, BUNDLE, "vkey", "checkpoint")] == [
        content,
        content,
        b"two\n",
        None,
    ]


async def test_what_must_never_change_does_not(target: Target) -> None:
    assert await target.add(BUNDLE, b"one")
    assert not await target.add(BUNDLE, b"one")
    for other in (b"on", b"One", b"", b"one\x00"):
        with pytest.raises(ProofError, match="holds other bytes"):
            await target.add(BUNDLE, other)
    assert await target.get(BUNDLE) == b"one"


async def test_a_checkpoint_replaces_the_one_that_was_seen(target: Target) -> None:
    await target.replace("checkpoint", b"1", None)
    await target.replace("checkpoint", b"2", b"1")
    for seen in (None, b"1", b"22"):
        with pytest.raises(ConfigurationError, match="somebody else wrote checkpoint"):
            await target.replace("checkpoint", b"3", seen)
    assert await target.get("checkpoint") == b"2"


async def test_partial_tiles_go_and_nothing_else(target: Target) -> None:
    kept = ("tile/0/000", "tile/0/001.p/3", "tile/entries/000.p/7", "tile/0/000.px")
    gone = [f"tile/0/000.p/{width}" for width in (1, 2, 9, 255)]
    for path in (*kept, *gone):
        await target.add(path, path.encode())
    await target.discard("tile/0/000.p")
    await target.discard("tile/0/000.p")
    assert [await target.get(path) for path in gone] == [None] * 4
    assert [await target.get(path) for path in kept] == [path.encode() for path in kept]


async def test_many_at_once(target: Target) -> None:
    content = {f"tile/0/{n:03d}": bytes([n]) * 8192 for n in range(24)}
    assert all(await asyncio.gather(*(target.add(path, data) for path, data in content.items())))
    await target.settle()
    assert {path: await target.get(path) for path in content} == content


# --- what only one kind has -------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
async def test_objects_are_served_as_the_log_serves_them(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with STORES[store]() as endpoint, client_of(endpoint) as client:
        for name, value in environment_of(endpoint).items():
            monkeypatch.setenv(name, value)
        target = target_of(f"s3://{BUCKET}/one/")
        await target.open()
        for path in (TILE, BUNDLE, "keys.json"):
            await target.put(path, b"[]" * 500)
        await target.replace("checkpoint", b"note", None)
        await target.close()
        headers, bodies = {}, {}
        for path in (TILE, BUNDLE, "keys.json", "checkpoint"):
            answer = await client.get_object(Bucket=BUCKET, Key=f"one/{path}")
            encoding = answer.get("ContentEncoding") or None
            headers[path] = (answer["ContentType"], answer["CacheControl"], encoding)
            bodies[path] = await answer["Body"].read()
    immutable, fresh = "public, max-age=31536000, immutable", "public, max-age=1"
    assert headers == {
        TILE: ("application/octet-stream", immutable, None),
        BUNDLE: ("application/octet-stream", immutable, "gzip"),
        "keys.json": ("application/json", fresh, None),
        "checkpoint": ("text/plain; charset=utf-8", fresh, None),
    }
    assert len(bodies[BUNDLE]) < 100
    assert gzip.decompress(bodies[BUNDLE]) == b"[]" * 500


async def test_two_writers_of_a_bucket_cannot_overwrite_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads the checkpoint before the other writes it: the store's own conditions decide."""
    async with real_store() as endpoint:
        for name, value in environment_of(endpoint).items():
            monkeypatch.setenv(name, value)
        writers = [target_of(f"s3://{BUCKET}/one") for _ in range(4)]
        for writer in writers:
            await writer.open()
        for seen in (None, b"first"):
            done = await asyncio.gather(
                *(
                    writer.replace("checkpoint", b"first" if seen is None else b"second %d" % n, seen)
                    for n, writer in enumerate(writers)
                ),
                return_exceptions=True,
            )
            assert [type(one) for one in done if one is not None] == [ConfigurationError] * 3
        for writer in writers:
            await writer.close()


async def test_a_directory_has_one_writer(tmp_path: Path) -> None:
    one, other = DirectoryTarget(tmp_path), DirectoryTarget(tmp_path)
    await one.open()
    with pytest.raises(ConfigurationError, match="another sayso publish"):
        await other.open()
    await other.close()
    await one.close()
    await other.open()
    await other.close()


@pytest.mark.parametrize(
    ("place", "changes", "error", "said"),
    [
        ("s3://nowhere/x", {}, ConfigurationError, "refuses"),
        (f"s3://{BUCKET}/x", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ConfigurationError, "refuses"),
        (f"s3://{BUCKET}/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, MirrorAway, "does not answer"),
        (f"s3://{BUCKET}/x", {"AWS_ENDPOINT_URL": "nonsense"}, ConfigurationError, "AWS_ENDPOINT_URL"),
    ],
)
async def test_a_bucket_that_cannot_be_written_to(
    place: str, changes: dict[str, str], error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with real_store() as endpoint:
        for name, value in (environment_of(endpoint) | changes).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("services.cli.publish.bucket.ATTEMPTS", 1)
        target = target_of(place)
        with pytest.raises(error, match=said):
            await target.open()
        await target.close()


async def test_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = environment_of("http://127.0.0.1:1")
    for name in environment:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", environment["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    target = target_of(f"s3://{BUCKET}/x")
    with pytest.raises(ConfigurationError, match="no credentials"):
        await target.open()
    await target.close()


@pytest.mark.parametrize("place", ["http://x.example/", "s3:///x", "gs://x/y", "s3:x"])
def test_other_places_are_refused(place: str) -> None:
    with pytest.raises(ConfigurationError, match="s3://BUCKET/PREFIX"):
        target_of(place)
