"""A deployment with downstream systems: what an admin states over the API, put in by SQL, and what came of triggers."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import orjson
from joserfc import jwe
from joserfc.jwk import ECKey
from pydantic import SecretStr

from services.keys import ControllerKeys
from services.keys.file_provider import FileProvider
from services.keys.jwe import ALGORITHM, ENCRYPTION, public_jwk
from services.keys.webhooks import webhook_secret, written_secret
from services.query.settings import QuerySettings
from tests.support.deployment import Deployment

# Of every system of a test that is told triggers.
SEALING_KEY = ECKey.generate_key("P-256")


def keys_of(deployment: Deployment) -> ControllerKeys:
    """The controllers' keys, opened as a ledger opens them."""
    return ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))


def public_key() -> dict[str, Any]:
    """What a system states of its key."""
    return dict(SEALING_KEY.as_dict(private=False))


def opened(sealed: str) -> dict[str, Any]:
    """What a system reads in a trigger."""
    found = jwe.decrypt_compact(sealed, SEALING_KEY, algorithms=[ALGORITHM, ENCRYPTION])
    assert found.plaintext is not None
    content: dict[str, Any] = orjson.loads(found.plaintext)
    return content


def secret_of(deployment: Deployment, system: str, number: int = 1) -> str:
    """The secret that the system was shown."""
    return written_secret(webhook_secret(keys_of(deployment).create_webhook_key("shop"), system, number))


def query_settings(deployment: Deployment, **changes: Any) -> QuerySettings:
    """Settings of a query process of the deployment, served in the test's own."""
    environment = deployment.query_environment(0)
    values: dict[str, Any] = {name.removeprefix("SAYSO_").lower(): value for name, value in environment.items()}
    return QuerySettings(**(values | {"database_url": SecretStr(values["database_url"])} | changes))


async def add_system(deployment: Deployment, system: str, kind: str = "webhook", **stated: Any) -> None:
    """A system that is told triggers; `stated` replaces what it has."""
    row = {"tells": ["triggers"], "services": [], "url": None, "answer_days": 30, "instructions": None} | stated
    await deployment.fetch(
        "INSERT INTO downstreams (controller, system, kind, tells, services, url, sealed_to, answer_days, instructions)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        deployment.controller,
        system,
        kind,
        row["tells"],
        row["services"],
        row["url"],
        None if kind == "task" else public_jwk(public_key()),
        row["answer_days"],
        row["instructions"],
    )


async def outcomes(deployment: Deployment) -> Counter[tuple[str, str | None]]:
    """How many triggers of each system have which outcome; None: not answered."""
    rows = await deployment.fetch("SELECT system, outcome, count(*) AS n FROM triggers GROUP BY system, outcome")
    return Counter({(row["system"], row["outcome"]): row["n"] for row in rows})


class Clock:
    """A clock that a test moves."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        """By days, hours, minutes or seconds."""
        self.now += timedelta(**by)
