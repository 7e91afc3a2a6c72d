"""What the controller's people and visitors send about requests, as closed models.

Invariant: words only. No member takes a file, and no text holds anything that could be one: a copy of an identity card
has no place here (GDPR Art. 5(1)(c)).
"""

from datetime import date
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas.events import Channel, Identifier, LegalBasis, Name, Right, Text, Uuid
from schemas.holds import RestrictionGround
from services.query.parameters import ErasureBody, ReplyTo

WORD_CHARS_MAX: Final = 80
PURPOSES_MAX: Final = 100


def _is_words(text: str) -> str:
    """An encoded file is one long word."""
    if any(len(word) > WORD_CHARS_MAX for word in text.split()):
        raise ValueError("not words")
    return text


Words = Annotated[Text, AfterValidator(_is_words)]

# How somebody shows who they are. None of them leaves a document behind.
IdentityMethod = Literal[
    "reply_from_known_address", "sign_in", "call_back", "question", "shown_in_person", "video_call", "eid"
]
# Why the clock may stand still besides: Recital 63 (which data, which processing?), or because the person wished so.
PauseGround = Literal["which_data", "their_wish"]
RefusalGround = Literal[
    "11(2)", "12(5)(b)", "15(4)", "16", "17(1)", "17(3)(a)", "17(3)(b)", "17(3)(c)", "17(3)(d)", "17(3)(e)", "18(1)",
    "20(1)", "20(3)", "20(4)", "21(1)", "21(6)", "23",
]  # fmt: skip
ErasureGround = Annotated[
    Literal["17(1)(a)", "17(1)(b)", "17(1)(c)", "17(1)(d)", "17(1)(e)", "17(1)(f)"],
    Field(description="The ground of GDPR Art. 17(1) that an erasure rests on."),
]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IdentityBody(_Closed):
    """Reasonable doubt (GDPR Art. 12(6)): how the person is asked to show who they are, and what the doubt rests on."""

    method: IdentityMethod
    doubt: Words


class LetterBody(_Closed):
    """A request that came outside of Sayso. Whose it is: one of `identifier`, `receipt`, `subject`, or nobody known."""

    asked_for: Right
    channel: Channel
    received_on: Annotated[date, Field(description="The day on which it arrived, where the controller is.")]
    identifier: Identifier | None = None
    receipt: Annotated[
        Uuid | None, Field(description="The number on a visitor's receipt: the id of the event that it is of.")
    ] = None
    subject: Uuid | None = None
    doubt: IdentityBody | None = None
    reply_to: ReplyTo | None = None
    note: Words | None = None

    @model_validator(mode="after")
    def _one_person(self) -> Self:
        named = [one for one in (self.identifier, self.receipt, self.subject) if one is not None]
        if len(named) > 1:
            raise ValueError("one person at most")
        if not named and (self.reply_to is not None or self.note is not None):
            # No erasure would find it.
            raise ValueError("words about somebody who is not named")
        return self


class MineBody(_Closed):
    """A visitor's own request."""

    asked_for: Right
    note: Words | None = None


class VerifiedBody(_Closed):
    """What became of the identity check. `on`: the day on which the person answered, today if left out."""

    method: IdentityMethod
    outcome: Literal["shown", "not_shown"]
    on: date | None = None


class PauseBody(_Closed):
    ground: PauseGround
    why: Words


class ResumeBody(_Closed):
    """`on`: the day on which the person answered, today if left out."""

    on: date | None = None


class ExtendBody(_Closed):
    """Two months more (Art. 12(3)). `told_on`: the day on which the person was told, with these reasons."""

    reason: Literal["complex", "many"]
    why: Words
    told_on: date


class PurposeAnswered(_Closed):
    purpose: Name
    legal_basis: LegalBasis = "legitimate_interest"


class AnswerBody(_Closed):
    """What was done. `purposes`: of an objection, a withdrawal, a restriction (left out: all that stand, everything).
    `ground`, `reply_to`: of an erasure. `restriction`: the case of Art. 18(1).
    """

    said: Words | None = None
    ground: ErasureGround | None = None
    reply_to: ReplyTo | None = None
    restriction: RestrictionGround | None = None
    purposes: Annotated[list[PurposeAnswered], Field(min_length=1, max_length=PURPOSES_MAX)] | None = None

    def erasure(self) -> ErasureBody | None:
        return None if self.ground is None else ErasureBody(ground=self.ground, reply_to=self.reply_to)


class LiftBody(_Closed):
    """A restriction ends. `told_on`: the day on which the person was told, which is before (Art. 18(3))."""

    why: Words
    told_on: date


class RefuseBody(_Closed):
    """The ground, and why it holds here, as the person is told."""

    ground: RefusalGround
    why: Words


class WithdrawBody(_Closed):
    """The person takes the request back."""

    note: Words | None = None


class ToldBody(_Closed):
    """How the person was told of the answer, the refusal or the extension. `on`: today if left out."""

    channel: Literal["email", "phone", "post", "in_person", "page"]
    on: date | None = None


class ListParameters(_Closed):
    state: Annotated[
        Literal["open", "closed", "all"], Field(description="Those that are still to be answered, or were.")
    ] = "open"
    overdue: Annotated[bool, Field(description="Only those whose day is over.")] = False
    due_within: Annotated[
        int | None, Field(ge=1, le=366, description="Only those that are due in less than so many days, or overdue.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=500, description="Requests at most, those that are due first.")] = 100
