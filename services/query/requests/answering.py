"""Doing what a person asked for, and saying so: each right has its own effect, and then the request is answered.

Invariant: the effect is recorded before the answer. A crash between the two leaves a request that is open still, whose
answer may be given again: each effect does no harm twice.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schemas.errors import InvalidParameter
from schemas.rights_errors import RequestStepNotPossible
from services.query.auth import Caller
from services.query.decisions import Decisions, Moment
from services.query.erasure.erasures import Answers, Erasures
from services.query.requests.bodies import AnswerBody, LiftBody
from services.query.requests.requests import WAIT_S, Answered, Requests
from services.query.requests.standing import Standing, reply_to_in


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers requests, with what each effect needs."""

    requests: Requests
    erasures: Erasures
    decisions: Decisions

    async def answer(self, caller: Caller, request: UUID, body: AnswerBody) -> Answered:
        """1. Look whether it may be answered; 2. do it; 3. say so. Of nobody known, nothing was found.

        Raises NotFound, RequestStepNotPossible, InvalidParameter where the body does not fit the right, StreamAway, and
        what an erasure may raise. An erasure that is not done (a hold, a mass) leaves the request open.
        """
        standing = await self.requests.standing(caller, request)
        standing.answer()
        _check(standing, body)
        outcome: dict[str, Any] = {"outcome": "done" if _has_person(standing) else "nothing_found"}
        subject, right = standing.subject, standing.row["asked_for"]
        if right == "erasure":
            if subject is not None:
                erasure = await self._erase(caller, standing, subject, body)
                if erasure["state"] != "erased":
                    return Answered({**standing.describe(), "asked": erasure}, recorded=False)
                if "erasure" in erasure:
                    # What it is asked for by: what became of it, and its certificate.
                    outcome["erasure"] = erasure["erasure"]
        elif subject is not None:
            outcome |= await self._act(caller, standing, subject, body)
        context = {} if body.said is None else {"said": body.said}
        return await self.requests.step(
            caller, request, "request.answered", lambda now: {**now.answer(), **outcome}, context
        )

    async def lift(self, caller: Caller, request: UUID, body: LiftBody) -> Answered:
        """End the restriction that a request was answered with, of the same purposes; the person knows by then.

        Raises NotFound, RequestStepNotPossible, StreamAway.
        """
        standing = await self.requests.standing(caller, request)
        row, view = standing.row, await self.requests.view(caller, request)
        answered = next((step for step in view["steps"] if step["type"] == "request.answered"), None)
        if row["asked_for"] != "restriction" or answered is None or standing.subject is None:
            raise RequestStepNotPossible
        if not row["received_on"] <= body.told_on <= standing.today:
            raise RequestStepNotPossible
        lifted = _restricted(standing, answered.get("purposes")) | {"told_on": body.told_on.isoformat()}
        await self.requests.publish(caller, standing, "restriction.lifted", {"restriction": lifted}, {"why": body.why})
        return Answered(view, recorded=True)

    async def _erase(self, caller: Caller, standing: Standing, subject: UUID, body: AnswerBody) -> dict[str, Any]:
        asked = body.erasure()
        assert asked is not None  # or _check refused it
        view = await self.requests.view(caller, standing.request)
        # What came with the request goes with the person: the docket keeps where they are told.
        answers = Answers(standing.request, reply_to_in(view["steps"][0]))
        answer, _ = await self.erasures.ask(caller, subject, asked, WAIT_S, answers=answers)
        return answer

    async def _act(self, caller: Caller, standing: Standing, subject: UUID, body: AnswerBody) -> dict[str, Any]:
        """The effect on consents or processing, as an event of the person's own; what the answer says of it."""
        right = standing.row["asked_for"]
        if right not in {"objection", "withdrawal", "restriction"}:
            return {}
        about: dict[str, Any] = {"request": {"request": str(standing.request)}}
        if right == "restriction":
            purposes = None if body.purposes is None else sorted({one.purpose for one in body.purposes})
            restricted = _restricted(standing, purposes)
            if body.restriction is not None:
                restricted["ground"] = body.restriction
            await self.requests.publish(caller, standing, "restriction.placed", {"restriction": restricted}, {})
            return {} if purposes is None else {"purposes": purposes}
        decisions = await self._denied(caller, subject, body) if right == "withdrawal" else _objected(body)
        if decisions:
            about["decisions"] = decisions
            about["actor"] = {"entity": "operator"}
            await self.requests.publish(caller, standing, "consent.withdrawn", about, {})
        return {"purposes": sorted({one["purpose"] for one in decisions})}

    async def _denied(self, caller: Caller, subject: UUID, body: AnswerBody) -> list[dict[str, Any]]:
        """The consents to take back: those that were named, or every one that stands."""
        if body.purposes is not None:
            purposes = {one.purpose for one in body.purposes}
        else:
            state = await self.decisions.state(caller, subject, Moment())
            standing = [judged.answer.decided for judged in state.judged]
            purposes = {one.purpose for one in standing if one.decision == "granted"}
        return [{"purpose": name, "decision": "denied", "legal_basis": "consent"} for name in sorted(purposes)]


def _restricted(standing: Standing, purposes: list[str] | None) -> dict[str, Any]:
    """The `restriction` of an event: without purposes of everything (schemas.holds.Restricted)."""
    request = {"request": str(standing.request)}
    return request if purposes is None else {**request, "purposes": purposes}


def _objected(body: AnswerBody) -> list[dict[str, Any]]:
    assert body.purposes is not None  # or _check refused it
    return [
        {"purpose": one.purpose, "decision": "objected", "legal_basis": one.legal_basis}
        for one in sorted(set(body.purposes), key=lambda one: (one.purpose, one.legal_basis))
    ]


def _has_person(standing: Standing) -> bool:
    return standing.subject is not None or standing.row["docket"] is not None


def _check(standing: Standing, body: AnswerBody) -> None:
    """Whether the body says what an answer to this right must say, and nothing else. Raises InvalidParameter."""
    right = standing.row["asked_for"]
    if (body.ground is not None) != (right == "erasure" and standing.subject is not None):
        raise InvalidParameter("/ground")
    if body.reply_to is not None and right != "erasure":
        raise InvalidParameter("/reply_to")
    if body.restriction is not None and right != "restriction":
        raise InvalidParameter("/restriction")
    if body.purposes is not None and right not in {"objection", "withdrawal", "restriction"}:
        raise InvalidParameter("/purposes")
    if right == "objection":
        if body.purposes is None and standing.subject is not None:
            raise InvalidParameter("/purposes")
        if body.purposes is not None and any(one.legal_basis == "consent" for one in body.purposes):
            # Consent is withdrawn, not objected to.
            raise InvalidParameter("/purposes")
    if right == "erasure" and body.said is not None:
        # It would be recorded after the erasure, where no other finds it.
        raise InvalidParameter("/said")
    if right == "rectification" and body.said is None:
        raise InvalidParameter("/said")
