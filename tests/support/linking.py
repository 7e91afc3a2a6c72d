"""Sign-ins and sign-outs for tests: events that link a cookie to an account, and the rows they lead to."""

from datetime import datetime, timedelta
from typing import Any

from schemas.events import parse_time
from schemas.record import format_time
from services.keys import ControllerKeys, event_mac, identifier_mac
from services.keys.file_provider import FileProvider
from tests.support.deployment import BASE_TIME, Deployment, consent_event
from tests.support.rows import Controller, Person

# Identifiers that these tests use, by type.
VALUES = {"cookie": ("tablet", "phone", "x"), "account": ("ann", "bob"), "email": ("ann@shop.example",)}


def at_minute(minute: int) -> str:
    return format_time(BASE_TIME + timedelta(minutes=minute))


def link_event(
    number: int, weak: str, strong: str, *, minute: int = 0, state: str = "linked", **changes: Any
) -> dict[str, Any]:
    """An identity.linked of the cookie `weak` and the account `strong`."""
    identifiers = [{"type": "cookie", "value": weak}, {"type": "account", "value": strong}]
    members = {"type": "identity.linked", "time": at_minute(minute), "link": {"state": state}, **changes}
    event = consent_event(number, **members)
    event["data"]["subject"] = {"identifiers": identifiers}
    del event["data"]["decisions"]
    return event


async def links(deployment: Deployment) -> set[tuple[Any, ...]]:
    """(event number, weak value, strong value, state, acted_at) of every row; None where nobody is."""
    keys = ControllerKeys(deployment.keys / "controllers", FileProvider(deployment.keys / "root.key"))
    secret = keys.identifier_key("shop")
    values = {identifier_mac(secret, kind, value): value for kind, known in VALUES.items() for value in known}
    rows = await deployment.fetch("SELECT identifier, subject FROM identifiers")
    who = {row["subject"]: values.get(row["identifier"], "?") for row in rows}
    numbers = {event_mac(deployment.event_id_key, "shop", consent_event(n)["id"]): n for n in range(100)}
    return {
        (numbers.get(row["event"]), who.get(row["weak"]), who.get(row["strong"]), row["state"], row["acted_at"])
        for row in await deployment.fetch("SELECT * FROM links")
    }


async def leave_link(
    shop: Controller, weak: Person, strong: Person, event: dict[str, Any], received_at: datetime
) -> None:
    """The record of a sign-in or sign-out, and its row, as the ledger leaves them."""
    record = await shop.record(strong, event, received_at)
    await shop.world.execute(
        "INSERT INTO links (controller, event, nth, strong, weak, state, acted_at) VALUES ($1, $2, 0, $3, $4, $5, $6)",
        shop.controller,
        event_mac(shop.world.event_id_key, shop.name, record.event),
        strong.subject,
        weak.subject,
        event["data"]["link"]["state"],
        min(parse_time(event["time"]), received_at),
    )
