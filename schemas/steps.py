"""A verification as numbered, named steps, each told to the caller as it ends.

Invariant: the first step that fails is the last, and the error that it raises says which one it was.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from schemas.errors import ProofError


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a verification: its number, its name, how it ended, and what was seen, without personal data.

    outcome: "ok"; "remark" when it holds with something the reader must know; "failed".
    """

    number: int
    name: str
    outcome: Literal["ok", "remark", "failed"]
    text: str


class Run:
    """Numbers the steps, says in an error which one failed, and tells the caller of each as it ends."""

    def __init__(self, done: Callable[[Step], None]) -> None:
        self._done = done
        self._number = 0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[..., None]]:
        """One step; `say(text, remark=False)` notes what was seen. A ProofError inside fails it and is raised anew."""
        self._number += 1
        said: list[str] = []
        outcome: list[Literal["ok", "remark"]] = ["ok"]

        def say(text: str, *, remark: bool = False) -> None:
            said.append(text)
            if remark:
                outcome[0] = "remark"

        try:
            yield say
        except ProofError as error:
            self._done(Step(self._number, name, "failed", str(error)))
            raise ProofError(f"step {self._number} ({name}): {error}") from error
        self._done(Step(self._number, name, outcome[0], "; ".join(said)))
