"""What outsiders and the log itself say of one checkpoint: signature, keys in time, cosignatures, timestamps.

Invariant: a token goes into a bundle only if the bundle's own verifier, under the roots beside it, accepts it.
"""

from collections.abc import Sequence

from schemas.checkpoint import open_checkpoint
from schemas.errors import ProofError
from schemas.record import format_time
from schemas.strict_json import write_json
from schemas.timestamp import verify_timestamp
from services.query.bundles.files import LogEvidence, Token
from services.query.bundles.store import BundleStore
from services.query.bundles.trust import Trust
from services.query.log_keys import log_keys, signer_of
from services.query.store import Reader, Row


async def log_evidence(reader: Reader, store: BundleStore, trust: Trust, record: Row, size: int) -> LogEvidence:
    """Everything there is about a log's checkpoint of that size; `record` names the log. Raises ProofError."""
    log, name, origin = record["log_number"], record["log"], record["origin"]
    row = await store.checkpoint_at(log, size)
    if row is None:
        raise ProofError("a published checkpoint is missing in the database: run sayso fsck")
    keys = log_keys(name, origin, await reader.log_keys(log))
    signer = signer_of(keys, row["note"], size)
    checkpoint = open_checkpoint(row["note"], origin, [signer])
    tokens, lacks = _tokens(trust, row["note"].encode(), await store.timestamps_at(log, size))
    policy = trust.policy_text if trust.policy is not None and trust.policy.accepts_log(origin) else None
    witnesses = [(w["witness"], format_time(w["cosigned_at"])) for w in await store.cosigners(log, size)]
    if not witnesses:
        lacks.append("No witness has cosigned this checkpoint.")
    return LogEvidence(
        name=name,
        checkpoint=checkpoint,
        vkey=str(signer),
        signed=row["note"],
        cosignatures=row["cosignatures"],
        keys=write_json(keys.document()),
        policy=policy,
        witnesses=witnesses,
        tokens=tokens,
        lacks=lacks,
    )


def _tokens(trust: Trust, signed: bytes, rows: Sequence[Row]) -> tuple[list[Token], list[str]]:
    """The tokens that the bundle's verifier accepts, and why others are not there."""
    tokens, lacks = [], []
    for row in rows:
        authority, roots = row["authority"], trust.roots.get(row["authority"])
        if roots is None:
            lacks.append(f"A timestamp by {authority} exists; its roots are not known to the service that made this.")
            continue
        try:
            verify_timestamp(row["response"], signed, roots.certificates, nonce=row["nonce"])
        except ProofError:
            lacks.append(f"A timestamp by {authority} exists that only other tools can verify: ask for it by itself.")
            continue
        tokens.append(Token(authority, row["response"], row["nonce"], roots.pem, format_time(row["gen_time"])))
    if not rows:
        lacks.append("No authority has timestamped this checkpoint.")
    return tokens, lacks
