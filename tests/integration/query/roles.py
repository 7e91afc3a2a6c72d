"""Which role opens which route, written out by hand from the design's roles, and a request that each route takes.

A route of query that is missing here fails tests/integration/query/test_access.py. `docs/access.md` says why.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from schemas.notices import notice_bytes, notice_hash
from tests.support.deployment import BASE_TIME, consent_event
from tests.support.erased_rows import keep_minimal_proof, leave_erasure
from tests.support.rows import Controller, Recorded, notice_content
from tests.unit.schemas.test_notice_making import source

ROLES: Final = ("site", "privacy", "dpo", "auditor", "admin")
ANYBODY: Final = frozenset(ROLES)
STATE: Final = ANYBODY - {"admin"}
IDENTIFIERS: Final = frozenset({"site", "privacy", "dpo"})
HISTORY: Final = frozenset({"privacy", "dpo", "auditor"})
ACTS: Final = frozenset({"privacy"})
SEES: Final = frozenset({"privacy", "dpo"})
OVERSEES: Final = frozenset({"dpo"})
ARRANGES: Final = frozenset({"admin"})
ARRANGED: Final = frozenset({"privacy", "dpo", "admin"})

# None is everybody.
MATRIX: Final[dict[str, frozenset[str] | None]] = {
    "POST /v1/subjects/lookup": IDENTIFIERS,
    "GET /v1/subjects/{subject}/consents": STATE,
    "GET /v1/subjects/{subject}/status": STATE,
    "GET /v1/subjects/{subject}/history": HISTORY,
    "GET /v1/subjects/{subject}/proof": HISTORY,
    "POST /v1/subjects/{subject}/erasure": ACTS,
    "GET /v1/events/{event}/proof": STATE,
    "GET /v1/events/{event}/receipt": STATE,
    "POST /v1/checks": IDENTIFIERS,
    "GET /v1/figures": ARRANGED,
    # erasures
    "POST /v1/erasures": ACTS,
    "GET /v1/erasures/{erasure}": SEES,
    "GET /v1/erasures/{erasure}/certificate": SEES,
    "POST /v1/dockets/{number}/close": ACTS,
    "POST /v1/minimal-proofs/search": SEES,
    "POST /v1/minimal-proofs/{log}/{index}/release": SEES,
    # requests of people
    "POST /v1/requests": ACTS,
    "GET /v1/requests": SEES,
    "GET /v1/requests/{request}": SEES,
    "GET /v1/requests/{request}/file": SEES,
    "POST /v1/requests/{request}/identity": ACTS,
    "POST /v1/requests/{request}/verified": ACTS,
    "POST /v1/requests/{request}/pause": ACTS,
    "POST /v1/requests/{request}/resume": ACTS,
    "POST /v1/requests/{request}/extend": ACTS,
    "POST /v1/requests/{request}/answer": ACTS,
    "POST /v1/requests/{request}/refuse": ACTS,
    "POST /v1/requests/{request}/withdraw": ACTS,
    "POST /v1/requests/{request}/told": ACTS,
    "POST /v1/requests/{request}/lift": ACTS,
    # holds, and what needs two people
    "POST /v1/holds": SEES,
    "GET /v1/holds": SEES,
    "GET /v1/holds/{hold}": SEES,
    "POST /v1/holds/{hold}/review": SEES,
    "POST /v1/holds/{hold}/release": OVERSEES,
    "GET /v1/approvals": SEES,
    "GET /v1/approvals/{approval}": SEES,
    "POST /v1/approvals/{approval}": SEES,
    # notices and services
    "POST /v1/sites/{site}/notices": ACTS,
    "GET /v1/sites/{site}/notices": HISTORY,
    "GET /v1/sites/{site}/notices/{notice}": HISTORY,
    "POST /v1/notice-matches": SEES,
    "PUT /v1/catalogue/{service}": ACTS,
    "GET /v1/catalogue": SEES,
    "POST /v1/catalogue/{service}/steps": ACTS,
    "GET /v1/catalogue/steps": SEES,
    # regulators, and who looked
    "POST /v1/grants": OVERSEES,
    "GET /v1/grants": OVERSEES,
    "GET /v1/grants/own": frozenset({"auditor"}),
    "POST /v1/grants/{grant}/revoke": OVERSEES,
    "POST /v1/grants/{grant}/key": OVERSEES,
    "GET /v1/access-log": frozenset({"dpo", "auditor"}),
    # exports
    "POST /v1/exports": OVERSEES,
    "GET /v1/exports": OVERSEES,
    "GET /v1/exports/{export}": OVERSEES,
    "POST /v1/exports/{export}/cancel": OVERSEES,
    "POST /v1/exports/{export}/resume": OVERSEES,
    "GET /v1/exports/{export}/files/{name}": OVERSEES,
    "POST /v1/exports/{export}/links": OVERSEES,
    "GET /v1/exports/download/{token}": None,
    "GET /v1/exports/download/{token}/{name}": None,
    # what the controller arranges
    "POST /v1/keys": ARRANGES,
    "GET /v1/keys": ARRANGED,
    "POST /v1/keys/{key}/rotate": ARRANGES,
    "DELETE /v1/keys/{key}": ARRANGES,
    "POST /v1/people": ARRANGES,
    "GET /v1/people": ARRANGED,
    "DELETE /v1/people/{person}": ARRANGES,
    "GET /v1/terms": ARRANGED,
    "PUT /v1/terms": ARRANGES,
    "GET /v1/retention/rules": ARRANGED,
    "GET /v1/retention/rules/{rule}": ARRANGED,
    "PUT /v1/retention/rules/{rule}": ARRANGES,
    "DELETE /v1/retention/rules/{rule}": ARRANGES,
    "POST /v1/retention/preview": ARRANGED,
    "GET /v1/retention/preview": ARRANGED,
    "POST /v1/retention/runs": ACTS,
    "GET /v1/retention/runs": ARRANGED,
    "GET /v1/retention/runs/{run}": ARRANGED,
    "PUT /v1/downstreams/{system}": ARRANGES,
    "GET /v1/downstreams": ARRANGED,
    "GET /v1/downstreams/{system}": ARRANGED,
    "DELETE /v1/downstreams/{system}": ARRANGES,
    "POST /v1/downstreams/{system}/secret": ARRANGES,
    "GET /v1/deliveries": ARRANGED,
    "POST /v1/deliveries/{delivery}/again": ARRANGES,
    "GET /v1/triggers": SEES,
    "GET /v1/triggers/{trigger}": SEES,
    "GET /v1/tasks": ACTS,
    "GET /v1/tasks/{trigger}": ACTS,
    "POST /v1/tasks/{trigger}/answer": ACTS,
    # oneself
    "GET /v1/session": ANYBODY,
    "POST /v1/sign-out": ANYBODY,
    "GET /v1/sign-in": None,
    "GET /v1/sign-in/callback": None,
    # public
    "GET /.well-known/jwks.json": None,
    "GET /logs/{log}/checkpoint": None,
    "GET /logs/{log}/vkey": None,
    "GET /logs/{log}/{path}": None,
    "GET /v1/logs/{log}/consistency": None,
    "GET /keys": None,
}
# A visitor's capability opens these (tests/integration/visitors); no key does.
VISITORS: Final = {
    "GET /v1/me/choices",
    "GET /v1/me/history",
    "GET /v1/me/events/{event}/receipt",
    "GET /v1/me/holds",
    "GET /v1/me/looks",
    "GET /v1/me/requests",
    "POST /v1/me/requests",
    "GET /v1/me/retention",
}
# A downstream system opens these by its signature (tests/integration/triggers); no key does.
SYSTEMS: Final = {"POST /v1/triggers/{trigger}/answer"}
OPERATIONS: Final = {"GET /health/live", "GET /health/ready", "GET /metrics"}

# What succeeds with no more than `posted` leaves; the others' own tests see them succeed, here the gate alone is seen.
SUCCEEDS: Final = {
    "POST /v1/subjects/lookup",
    "GET /v1/subjects/{subject}/consents",
    "GET /v1/subjects/{subject}/status",
    "GET /v1/subjects/{subject}/history",
    "GET /v1/subjects/{subject}/proof",
    "POST /v1/subjects/{subject}/erasure",
    "GET /v1/events/{event}/proof",
    "GET /v1/events/{event}/receipt",
    "GET /v1/erasures/{erasure}",
    "GET /v1/erasures/{erasure}/certificate",
    "POST /v1/minimal-proofs/search",
    "POST /v1/sites/{site}/notices",
    "GET /v1/sites/{site}/notices",
    "GET /v1/sites/{site}/notices/{notice}",
    "POST /v1/notice-matches",
    "PUT /v1/catalogue/{service}",
    "GET /v1/catalogue",
    "POST /v1/catalogue/{service}/steps",
    "GET /v1/catalogue/steps",
    "GET /v1/requests",
    "GET /v1/holds",
    "GET /v1/approvals",
    "POST /v1/grants",
    "GET /v1/grants",
    "GET /v1/grants/own",
    "GET /v1/access-log",
    "GET /v1/exports",
    "GET /v1/keys",
    "GET /v1/people",
    "GET /v1/terms",
    "GET /v1/retention/rules",
    "GET /v1/retention/runs",
    "GET /v1/downstreams",
    "GET /v1/deliveries",
    "GET /v1/triggers",
    "GET /v1/tasks",
    "GET /v1/session",
    "GET /.well-known/jwks.json",
    "GET /logs/{log}/checkpoint",
    "GET /logs/{log}/vkey",
    "GET /logs/{log}/{path}",
    "GET /v1/logs/{log}/consistency",
    "GET /keys",
}

EMAIL: Final = "eve@example.com"
GONE: Final = UUID("9a3c1f60-5f43-4a8e-9d5b-6f2f3c1f0b11")
ERASURE: Final = "01930f5e-7c1e-7b1a-9c55-0000000000ee"
LATER: Final = "2099-01-01T00:00:00Z"
_BY_EMAIL: Final = {"identifier": {"type": "email", "value": EMAIL}}
BODIES: Final[dict[str, Any]] = {
    "POST /v1/subjects/lookup": _BY_EMAIL,
    "POST /v1/subjects/{subject}/erasure": {"ground": "17(1)(b)"},
    "POST /v1/sites/{site}/notices": source(),
    "POST /v1/notice-matches": {"shown": "ab" * 32, "notice": notice_hash(notice_bytes(notice_content())).hex()},
    "PUT /v1/catalogue/{service}": {"risk": "low"},
    "POST /v1/catalogue/{service}/steps": {"step": "agreement-signed", "done_on": "2026-01-05"},
    "POST /v1/minimal-proofs/search": _BY_EMAIL,
    "POST /v1/minimal-proofs/{log}/{index}/release": {"reason": "a claim was raised"},
    "POST /v1/grants": {"case_reference": "CNIL-2026-0042", "authority": "CNIL", "ends_at": LATER},
}
_PARAMETERS: Final[dict[str, dict[str, str]]] = {
    "GET /v1/subjects/{subject}/status": {"purpose": "chat-history"},
    "GET /v1/logs/{log}/consistency": {"from": "0", "to": "1"},
}
# Named in a path and nowhere there, of this controller or another.
NOWHERE: Final = "7f000000-0000-4000-8000-000000000001"
_NOWHERE_NAMES: Final = {"number": 404, "index": 404, "service": "nothing", "path": "tile/entries/404"}


class Ids(dict[str, Any]):
    """The names in a path; what is not given is a thing that is nowhere."""

    def __missing__(self, name: str) -> Any:
        return _NOWHERE_NAMES.get(name, NOWHERE)


def ids_of(controller: Controller, subject: str, record: Recorded) -> Ids:
    """What `posted` left."""
    return Ids(
        subject=subject,
        event=record.event,
        log=controller.name,
        site=controller.site_name,
        notice=notice_hash(notice_bytes(notice_content())).hex(),
        erasure=ERASURE,
        number=1,
        index=0,
        service="chatra",
        path="tile/entries/000.p/1",
    )


def request_of(route: str, ids: Ids) -> dict[str, Any]:
    """The arguments of a request that the route takes."""
    method, path = route.split()
    if path.endswith("/erasure") and "subject" in ids:
        # Somebody who was erased: asking again changes nothing.
        ids = Ids(ids, subject=str(GONE))
    params = {"log": ids["log"]} if path == "/keys" else _PARAMETERS.get(route, {})
    return {"method": method, "url": path.format_map(ids), "params": params, "json": BODIES.get(route)}


async def posted(controller: Controller) -> tuple[str, Recorded]:
    """A subject with one published consent, and what is left of another who was erased."""
    other = await controller.person("cookie", "v-gone")
    gone = await controller.record(other, consent_event(2), BASE_TIME)
    await leave_erasure(controller, other, BASE_TIME, event=ERASURE, docket=None, subject=GONE)
    await keep_minimal_proof(controller, ("email", EMAIL), [gone], datetime.now(UTC) + timedelta(days=1))
    notice = await controller.notice(notice_content(), BASE_TIME)
    person = await controller.person("email", EMAIL)
    granted = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}
    event = consent_event(1, notice={"sha256": notice, "language": "fr"}, decisions=[granted])
    record = await controller.record(person, event, BASE_TIME + timedelta(seconds=1), notice=notice)
    await controller.describe()
    await controller.publish()
    return str(person.subject), record
