"""What must hold of a log after anything happened to it, looked up from raw rows as the superuser."""

from collections import Counter

from schemas.merkle import leaf_hash, root_of
from schemas.record import NO_PREVIOUS, read_entry

# FSCK from services.ledger.fsck.check import check
from services.ledger.fsck.check import check
from tests.support.deployment import Deployment


async def assert_one_clean_chain(deployment: Deployment, size: int) -> None:
    """No gap, an unbroken chain, head and checkpoint that fit, every event recorded once; fsck is clean."""
    records = await deployment.fetch("SELECT index, entry FROM records ORDER BY index")
    assert [row["index"] for row in records] == list(range(size))
    prev = NO_PREVIOUS
    for row in records:
        assert read_entry(row["entry"])["prev"] == prev
        prev = leaf_hash(row["entry"]).hex()
    root = root_of([leaf_hash(row["entry"]) for row in records])
    (head,) = await deployment.fetch("SELECT size, root, signed_size FROM log_heads")
    assert (head["size"], head["root"], head["signed_size"]) == (size, root, size)
    events = await deployment.fetch("SELECT event, index FROM dedupe")
    assert len({row["event"] for row in events}) == size
    assert Counter(row["index"] for row in events).most_common(1)[0][1] == 1
    report = await check(deployment.settings(), progress=lambda *_: None)
    assert report.findings == []
    assert report.records == size
