"""The suppression file: numbers without gaps or doubles, whatever is cut off, and no line twice for one erasure."""

import errno
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from schemas.errors import ConfigurationError
from services.suppression import DatabaseNotReplayed, Suppressed, Suppression

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def append(
    suppression: Suppression, subject: UUID | None, *, after: int = 0, at: datetime = NOW, controller: str = "shop"
) -> Suppressed:
    return suppression.append(
        controller=controller,
        subject=subject,
        identifiers=[bytes(16)],
        erased_at=at,
        event=bytes(16),
        ground="17(1)(b)",
        after=after,
    )


@pytest.fixture
def suppression(tmp_path: Path) -> Suppression:
    suppression = Suppression(tmp_path / "suppression")
    suppression.create()
    return suppression


def test_lines_are_numbered_and_read_back(suppression: Suppression) -> None:
    lines = [append(suppression, uuid4()) for _ in range(3)]
    assert [line.number for line in lines] == [1, 2, 3]
    assert suppression.read() == lines
    # A whole controller is a subject of its own kind.
    assert append(suppression, None).number == 4


def test_the_same_erasure_again_gets_its_own_line_back(suppression: Suppression) -> None:
    subject = uuid4()
    first = append(suppression, subject)
    assert append(suppression, subject, at=NOW + timedelta(hours=1)) == first
    assert len(suppression.read()) == 1


def test_a_file_that_ends_before_the_database_is_never_added_to(suppression: Suppression, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ends before the last erasure"):
        append(suppression, uuid4(), after=1)
    assert append(suppression, uuid4(), after=0).number == 1
    assert append(suppression, uuid4(), after=1).number == 2
    # A database that was restored knows less than the file.
    assert append(suppression, uuid4(), after=0).number == 3
    (tmp_path / "suppression" / "suppression.jsonl").unlink()
    with pytest.raises(ConfigurationError, match="ends before the last erasure"):
        append(suppression, uuid4(), after=3)


def test_an_erasure_is_found_among_those_of_other_controllers(suppression: Suppression) -> None:
    subject = uuid4()
    lines = [append(suppression, who, controller=name) for who in (subject, None) for name in ("blog", "shop", "wiki")]
    assert [line.number for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert append(suppression, line.subject, controller=line.controller) == line
    assert len(suppression.read()) == 6


@pytest.mark.parametrize("failing", ["fsync", "write"])
def test_a_line_that_cannot_be_made_durable_was_never_begun(
    suppression: Suppression, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    first = append(suppression, uuid4())
    real = getattr(os, failing)

    def full(descriptor: int, data: bytes = b"") -> int:
        if failing == "write":
            real(descriptor, data[:9])
        raise OSError(errno.ENOSPC, "no space left on device")

    subject = uuid4()
    with monkeypatch.context() as patched:
        patched.setattr(os, failing, full)
        with pytest.raises(OSError, match="no space"):
            append(suppression, subject)
    assert suppression.read() == [first]
    assert append(suppression, subject).number == 2


def test_a_line_that_a_killed_writer_left_is_made_durable_before_it_counts(
    suppression: Suppression, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = uuid4()
    line = append(suppression, subject)
    synced = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    assert append(suppression, subject) == line
    assert synced == [len(line.encode())]


def test_a_line_cut_off_anywhere_never_happened(suppression: Suppression, tmp_path: Path) -> None:
    path = tmp_path / "suppression" / "suppression.jsonl"
    first = append(suppression, uuid4())
    whole = path.read_bytes()
    append(suppression, uuid4())
    both = path.read_bytes()
    for end in range(len(whole), len(both)):
        path.write_bytes(both[:end])
        assert suppression.read() == [first]
        assert append(suppression, uuid4()).number == 2
        assert [line.number for line in suppression.read()] == [1, 2]


def test_a_damaged_or_missing_file_is_refused(suppression: Suppression, tmp_path: Path) -> None:
    append(suppression, uuid4())
    path = tmp_path / "suppression" / "suppression.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"m":1'))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        suppression.read()
    path.unlink()
    with pytest.raises(DatabaseNotReplayed, match="never invent"):
        suppression.read()


def test_old_lines_are_forgotten_but_the_last_keeps_the_number(suppression: Suppression) -> None:
    for days in (90, 60, 30):
        append(suppression, uuid4(), at=NOW - timedelta(days=days))
    assert suppression.forget(NOW - timedelta(days=45)) == 2
    assert suppression.forget(NOW - timedelta(days=1)) == 0
    assert [line.number for line in suppression.read()] == [3]
    assert append(suppression, uuid4()).number == 4


def _append_many(directory: Path, count: int) -> None:
    suppression = Suppression(directory)
    for _ in range(count):
        append(suppression, uuid4())


def test_two_writers_never_share_a_number(suppression: Suppression, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(tmp_path / "suppression", 20)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert [line.number for line in suppression.read()] == list(range(1, 41))
