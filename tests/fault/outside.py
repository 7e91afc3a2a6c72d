"""What comes to a log from outside and what erasures leave, added to tests.support.sample_log for damages.py.

All of it in the log `blog`: 20 withdrawals, consents of `gone-1` and `gone-2` (20, 21), their erasures (22, 23), the
second with a minimal proof kept, a new signing key, and one more consent (24), signed by both keys and witnessed.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.note import parse_verifier_key
from services.keys import SigningKeys
from services.keys.file_provider import FileProvider
from services.ledger.evidence.timestamp_check import check_response
from services.ledger.log_keys import rotate_log_key
from tests.support.deployment import Deployment, consent_event
from tests.support.sample_log import SampleLog
from tests.support.tsa import TimestampAuthority
from tests.support.witness import ED25519, cosign, key_pair

SIZE = 25
WITNESS = "witness.example/w1"
SEED = bytes(range(32))
NONCE = bytes(range(8))
COSIGNED_AT = 1_800_000_000


async def add_outside(sample: SampleLog, folder: Path) -> dict[str, Any]:
    """Add it; the settings that a ledger and fsck then have."""
    deployment = sample.deployment
    async with deployment.ledger():
        await deployment.publish(_consent(deployment, number, f"gone-{number}") for number in (1, 2))
        await deployment.recorded(22, log="blog")
        await _erase(deployment, "gone-1", size=23)
        await deployment.fetch(
            "INSERT INTO minimal_proof_rules (controller, purpose, ground, keep_days)"
            " VALUES ($1, 'chat-history', '17(3)(e)', 1000)",
            deployment.controller,
        )
        await _erase(deployment, "gone-2", size=24)
        # A copy that was on its way all the time.
        await deployment.publish([_consent(deployment, 3, "gone-1")])
        await deployment.drained()
        connection = await deployment.connect()
        try:
            directory = deployment.keys / "ledger"
            signing = SigningKeys(FileProvider(deployment.keys / "root.key", directory), directory)
            await rotate_log_key(connection, signing, "blog", timedelta(days=1))
        finally:
            await connection.close()
        await deployment.publish([_consent(deployment, 4, "stays")])
        await deployment.recorded(SIZE, log="blog")
    return await _witness(deployment, folder)


def _consent(deployment: Deployment, number: int, subject: str) -> Any:
    event = consent_event(20_000 + number, subject=subject, source="/sites/blog.example")
    return deployment.seal(event, log="blog")


async def _erase(deployment: Deployment, name: str, size: int) -> None:
    subject = await deployment.subject_of(name)
    assert subject is not None
    message = deployment.seal_asked(
        "subject.erased", {"erasure": {"subject": str(subject), "ground": "17(1)(b)"}}, log="blog", site="blog.example"
    )
    await deployment.publish([message])
    await deployment.recorded(size, log="blog")


async def _witness(deployment: Deployment, folder: Path) -> dict[str, Any]:
    """A cosignature and a timestamp over the last checkpoint, and the files that say whose they are."""
    (row,) = await deployment.fetch(
        "SELECT c.log, c.note FROM checkpoints c JOIN logs l USING (controller, log)"
        " WHERE l.name = 'blog' AND c.size = $1",
        SIZE,
    )
    text = row["note"].rpartition("\n\n")[0] + "\n"
    vkey, _ = key_pair(WITNESS, ED25519, SEED)
    line = cosign(text, WITNESS, ED25519, SEED, COSIGNED_AT)
    place = deployment.controller, row["log"], SIZE
    await deployment.fetch(
        "INSERT INTO cosignatures (controller, log, size, witness, key_id, line, cosigned_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *place,
        WITNESS,
        parse_verifier_key(vkey).key_id,
        line,
        datetime.fromtimestamp(COSIGNED_AT, UTC),
    )
    policy = folder / "policy.txt"
    policy.write_text(f"witness w {vkey}\nquorum w\n")
    authority = TimestampAuthority(folder / "tsa")
    note = row["note"].encode()
    response = authority.stamp(note, NONCE)
    checked = check_response(response, note, NONCE, authority.pinned())
    await deployment.fetch(
        "INSERT INTO timestamps (controller, log, size, authority, response, nonce, gen_time, verified_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *place,
        authority.name,
        response,
        NONCE,
        checked.timestamp.gen_time,
        checked.verified_by,
    )
    return {"witness_policy_file": policy, "timestamp_authorities_file": folder / "tsa" / "authorities.yaml"}
