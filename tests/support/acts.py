"""Events that do something for or about people, and a house with one of everything that they leave behind."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from schemas.record import format_time
from tests.support.deployment import Deployment, consent_event, fresh_uuid

# What is projected from acts.
PROJECTED = ("requests", "request_steps", "holds", "held_erasures", "restrictions", "account_deletions", "ages")


def of_site(number: int, event_type: str, subject: str, **data: Any) -> dict[str, Any]:
    """What a site's server posts of somebody, without a decision."""
    event = consent_event(number, subject=subject, type=event_type, time=format_time(datetime.now(UTC)))
    event["data"] = {"subject": event["data"]["subject"], **data}
    return event


def hold(**members: Any) -> dict[str, Any]:
    """The members of a hold.placed."""
    until = datetime.now(UTC) + timedelta(days=90)
    return {
        "hold": {
            "hold": fresh_uuid(),
            "ground": "17(3)(e)",
            "case_reference": "C-7",
            "review_on": f"{until:%Y-%m-%d}",
            "expires_at": format_time(until),
            **members,
        }
    }


def step_of(request: str, nth: int) -> dict[str, Any]:
    """The members of a request's step."""
    return {"request": {"request": request, "nth": nth, "on": f"{datetime.now(UTC):%Y-%m-%d}"}}


async def record_one_of_each(deployment: Deployment) -> dict[str, UUID]:
    """Record acts on an empty log; who stays, by identifier. The ledger is stopped afterwards.

    v-1 asks for something, v-2's account is deleted, v-3 is restricted and young, v-4 cannot be erased because
    everybody is held, v-5 was erased before that, with a request; the one downstream system has answered about v-5 and
    not about v-3.
    """
    await deployment.fetch(
        "INSERT INTO downstreams (controller, system, kind, tells) VALUES ($1, 'crm', 'task', '{triggers}')",
        deployment.controller,
    )
    async with deployment.ledger():
        asked, of_the_erased = (of_site(n, "request.received", f"v-{n}", request={"right": "access"}) for n in (1, 5))
        events = [
            asked,
            of_the_erased,
            of_site(2, "account.deleted", "v-2"),
            of_site(3, "age.stated", "v-3", age={"over": False}),
            consent_event(4, subject="v-4", age={"over": True}),
        ]
        await deployment.publish(deployment.seal(event) for event in events)
        await deployment.drained()
        known = {name: await deployment.subject_of(name) for name in ("v-1", "v-2", "v-3", "v-4", "v-5")}
        people = {name: subject for name, subject in known.items() if subject is not None}
        await deployment.publish([deployment.seal_erasure(people["v-5"])])
        await deployment.drained()
        (trigger,) = await deployment.fetch("SELECT trigger FROM triggers")
        answer = {"trigger": {"trigger": str(trigger["trigger"]), "outcome": "done"}}
        acts: list[tuple[str, dict[str, Any], str | None]] = [
            ("trigger.answered", answer, None),
            ("request.identity", step_of(asked["id"], 1), "v-1"),
            ("hold.placed", hold(), "v-2"),
            ("hold.placed", hold(everybody=True), None),
            ("restriction.placed", {"restriction": {"ground": "18(1)(a)"}}, "v-3"),
        ]
        await deployment.publish(
            deployment.seal_asked(kind, members, who={} if name is None else {"subject": str(people[name])})
            for kind, members, name in acts
        )
        await deployment.drained()
        await deployment.publish([deployment.seal_erasure(people["v-4"])])
        await deployment.drained()
    return people
