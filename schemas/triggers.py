"""What a downstream system answers to a trigger: in its answer to the webhook, over HTTP, or through a human.

The ledger and query read it alike.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.events import Text

REASON_CHARS_MAX: Final = 500

Outcome = Literal["done", "not_feasible", "refused"]


class TriggerAnswer(BaseModel):
    """{"outcome": "done"} or {"outcome": "not_feasible" | "refused", "reason": why}; a reason names nobody."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    outcome: Outcome
    reason: Annotated[
        Text | None,
        Field(
            max_length=REASON_CHARS_MAX,
            description="Why not; needed unless it is done. Names nobody: it is recorded, and outlives the erasure.",
        ),
    ] = None

    @model_validator(mode="after")
    def _says_why_not(self) -> Self:
        if self.outcome != "done" and self.reason is None:
            raise ValueError("say why it was not done")
        if self.reason is not None and not self.reason.replace("\n", "").isprintable():
            # No database keeps a NUL, and nobody reads the others.
            raise ValueError("a reason is text without control characters")
        return self


def read_answer(answer: Any) -> TriggerAnswer | None:
    """The answer in a JSON value, None for one that is not valid."""
    try:
        return TriggerAnswer.model_validate(answer)
    except ValidationError:
        return None
