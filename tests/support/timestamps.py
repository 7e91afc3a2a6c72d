"""What tests of timestamps do with a deployment: have its ledger ask, wish, and wait for tokens."""

from typing import Any

from services.ledger.service import LedgerService
from tests.support.deployment import Deployment, consent_event
from tests.support.tsa import TimestampAuthority, authorities_file
from tests.support.wait import until


def asking(deployment: Deployment, *authorities: TimestampAuthority, interval_s: int = 3600) -> dict[str, Any]:
    """The ledger's settings."""
    file = authorities_file(deployment.directory / "authorities.yaml", *authorities)
    return {"timestamp_authorities_file": file, "timestamp_interval_s": interval_s}


async def record(deployment: Deployment, number: int) -> None:
    await deployment.publish([deployment.seal(consent_event(number))])
    await deployment.recorded(number)


async def wish(deployment: Deployment, size: int) -> None:
    """What query does before a proof is exported for the first time."""
    await deployment.fetch(
        "INSERT INTO timestamp_wishes (controller, log, size) VALUES ($1, $2, $3)",
        deployment.controller,
        deployment.log,
        size,
    )


async def tokens(deployment: Deployment, *, verified: bool = True) -> list[tuple[int, str]]:
    """Size and authority of every answer that verified, or of every one that did not, in their order."""
    rows = await deployment.fetch(
        "SELECT size, authority FROM timestamps WHERE (gen_time IS NOT NULL) = $1 ORDER BY seq", verified
    )
    return [(row["size"], row["authority"]) for row in rows]


async def until_tokens(deployment: Deployment, *expected: tuple[int, str]) -> None:
    async def there() -> bool:
        return sorted(await tokens(deployment)) == sorted(expected)

    await until(there, what=f"the tokens {expected}")


async def until_fulfilled(deployment: Deployment) -> None:
    async def gone() -> bool:
        return not await deployment.fetch("SELECT FROM timestamp_wishes")

    await until(gone, what="no wish is left")


def sample(ledger: LedgerService, name: str, **labels: str) -> float | None:
    return ledger.metrics.registry.get_sample_value(name, labels)
