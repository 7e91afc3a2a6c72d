"""How far an export has come: what is written to its row with each file that is complete.

Invariant: it names only what is durable, so whoever takes the job over goes on exactly there.
"""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.exports import LeftOut
from services.query.exports.selection import Scope

NOBODY = UUID(int=0)


class Span(BaseModel):
    """Which places of a log are looked through: from `first` on, before `size`, the size of its checkpoint."""

    model_config = ConfigDict(extra="forbid")

    log: int
    origin: str
    first: int
    size: int


class FileFacts(BaseModel):
    """A complete file. by: the worker that wrote it, whose folder it lies in."""

    model_config = ConfigDict(extra="forbid")

    name: str
    by: str
    sha256: str
    bytes: int
    records: int
    content_sha256: str
    bundles: int | None = None


class Progress(BaseModel):
    """began_at: settled once. nth, next: the log of `logs` and the place in it to go on at. after: of bundles, the
    person and the place after which to go on. looked_at: places looked through. manifest_by: set when all is done.
    """

    model_config = ConfigDict(extra="forbid")

    began_at: str
    scope: dict[str, Any]
    logs: list[Span]
    nth: int = 0
    next: int = 0
    after: tuple[UUID, int, int] = (NOBODY, 0, -1)
    files: list[FileFacts] = []
    records: int = 0
    looked_at: int = 0
    left_out: dict[str, int] = {}
    manifest_by: str | None = None

    @property
    def selected(self) -> Scope:
        """The scope, read."""
        return Scope.of_json(self.scope)

    def leave_out(self, why: str, count: int = 1) -> None:
        """Count what the files do not hold; `why` is a member of LeftOut."""
        if count:
            self.left_out[why] = self.left_out.get(why, 0) + count

    def counts(self) -> LeftOut:
        """As the manifest says it."""
        return LeftOut(**self.left_out)

    def content(self) -> bytes:
        """As it stands in the row."""
        return self.model_dump_json(exclude_none=True).encode()
