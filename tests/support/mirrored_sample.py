"""The logs whose every bit is changed: the 600 entries of the shared vectors, and one that a real ledger recorded."""

import hashlib
import json
from pathlib import Path

from schemas.vectors import generate
from tests.support.databases import Database
from tests.support.log_files import ORIGIN, VKEY, foreign_entries, write, write_log
from tests.support.sample_log import SampleLog
from tests.support.single_bits import MirroredLog, read_files

LOG = "shop"


def six_hundred(folder: Path) -> MirroredLog:
    """The 600-entry log of the vectors, uncompressed; its files are those that the vectors name."""
    files = read_files(write_log(folder / "six-hundred", foreign_entries(600)))
    stated = json.loads((generate.HERE / "tiles.json").read_bytes())["six_hundred"]
    assert {path: hashlib.sha256(content).hexdigest() for path, content in files.items() if path != "checkpoint"} == {
        path: about["sha256"] for path, about in stated.items()
    }
    return MirroredLog(files, ORIGIN, (VKEY,), foreign=True)


async def recorded(database: Database, folder: Path) -> tuple[SampleLog, MirroredLog]:
    """A real log of ours under its last checkpoint, as it would be mirrored."""
    sample = SampleLog(database, folder)
    await sample.record()
    return sample, await mirrored(sample, folder / "mirror")


async def mirrored(sample: SampleLog, prefix: Path) -> MirroredLog:
    """The files of the sample's larger log."""
    rows = await sample.deployment.fetch(
        "SELECT r.entry FROM records r JOIN logs l USING (controller, log) WHERE l.name = $1 ORDER BY r.index", LOG
    )
    (last,) = await sample.deployment.fetch(
        "SELECT c.note, l.origin, l.vkey FROM checkpoints c JOIN logs l USING (controller, log)"
        " WHERE l.name = $1 ORDER BY c.size DESC LIMIT 1",
        LOG,
    )
    write_log(prefix, [row["entry"] for row in rows])
    write(prefix / "checkpoint", last["note"].encode())
    return MirroredLog(read_files(prefix), last["origin"], (last["vkey"],), foreign=False)
