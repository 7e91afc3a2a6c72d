"""One exchange with one witness: add-checkpoint of C2SP tlog-witness, and what its answer is worth.

Nothing that a witness says is believed before it is checked, and nothing it does takes longer than ANSWER_S or more
memory than ANSWER_BYTES_MAX. Invariant: a line that comes out of here is this witness's cosignature of that checkpoint.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import httpx2

from schemas.errors import CheckpointError, ConfigurationError
from schemas.note import Signature, VerifierKey, decode_base64, decode_decimal, encode_base64, open_note
from schemas.policy import PolicyWitness

ANSWER_S: Final = 5.0
# An ML-DSA-44 line has 3.3 kB; a witness with a dozen keys fits.
ANSWER_BYTES_MAX: Final = 65_536
# How far the clock of a witness may be from ours and from the time of our signature, seconds.
CLOCK_SKEW_S: Final = 300


class Outcome(StrEnum):
    """How an exchange ended; a value of the metric's label."""

    COSIGNED = "cosigned"
    # 409: the witness is at another size than the one we named.
    CONFLICT = "conflict"
    MALFORMED = "malformed"
    FORBIDDEN = "forbidden"
    UNKNOWN_LOG = "unknown-log"
    # 422, or a conflict about the very size and checkpoint: it has seen another tree under this name.
    INCONSISTENT = "inconsistent"
    UNAVAILABLE = "unavailable"
    # Not an answer of this protocol, or a signature that is not what it should be.
    WRONG_ANSWER = "wrong-answer"
    WRONG_TIME = "wrong-time"
    # The witness has cosigned a larger size of ours meanwhile.
    SUPERSEDED = "superseded"
    # The witness has cosigned more than this database ever signed.
    AHEAD = "ahead"
    # The witness names a smaller size than it has cosigned.
    FORGOT = "forgot"


_BY_STATUS: Final = {
    400: Outcome.MALFORMED,
    403: Outcome.FORBIDDEN,
    404: Outcome.UNKNOWN_LOG,
    409: Outcome.CONFLICT,
    422: Outcome.INCONSISTENT,
    429: Outcome.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness said.

    line: of a COSIGNED one, its signature line with the newline; cosigned_at: the time in it, Unix seconds.
    size: of a CONFLICT, the size that the witness says it is at, None if it did not say.
    """

    outcome: Outcome
    line: str = ""
    cosigned_at: int = 0
    size: int | None = None


def submission_url(witness: PolicyWitness) -> httpx2.URL:
    """Where checkpoints go. Raises ConfigurationError for an address that is not one."""
    try:
        prefix = httpx2.URL(witness.url or "")
        if prefix.scheme in {"http", "https"} and prefix.host:
            return httpx2.URL(f"{str(prefix).removesuffix('/')}/add-checkpoint")
    except httpx2.InvalidURL:
        pass
    raise ConfigurationError(
        f"the witness policy gives {witness.name} an address that is not one: write its submission prefix, "
        "https://host/path"
    )


def request_body(old: int, path: Sequence[bytes], note: str) -> bytes:
    """The body of add-checkpoint: size and consistency path from the witness's last checkpoint, then ours verbatim."""
    lines = "".join(f"{encode_base64(node)}\n" for node in path)
    return f"old {old}\n{lines}\n{note}".encode()


def cosignature_line(note: str, body: str, key: VerifierKey) -> tuple[str, Signature]:
    """The line of `key` in an answer to `note`, with its newline, and its time.

    Raises CheckpointError when the answer is malformed, the key's line is missing, or its signature fails.
    """
    opened = open_note(note + body, [key])
    # An answer with an empty line of its own would be opened as another text than the one we sent.
    text, _, _ = note.rpartition("\n\n")
    if opened.text != f"{text}\n":
        raise CheckpointError("the answer of the witness is not signature lines alone")
    for line in body.split("\n"):
        _, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        if name == key.name and (decode_base64(encoded) or b"").startswith(key.key_id):
            return f"{line}\n", opened.signatures[0]
    raise CheckpointError("the witness did not cosign with its own key")


class WitnessClient:
    """Talks to one witness over a shared HTTP client that follows no redirects."""

    def __init__(self, http: httpx2.AsyncClient, witness: PolicyWitness) -> None:
        """Raises ConfigurationError for a witness without a usable address."""
        self._http = http
        self._url = submission_url(witness)
        self.witness = witness

    async def add_checkpoint(self, old: int, path: Sequence[bytes], note: str, *, signed_at: float) -> Answer:
        """Ask for a cosignature.

        old, path: the size the witness is believed to be at, and the consistency path from there.
        signed_at: Unix seconds of our own signature, before which nobody can have cosigned it.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                status, body = await self._post(request_body(old, path, note))
        except (httpx2.HTTPError, OSError, TimeoutError):
            return Answer(Outcome.UNAVAILABLE)
        if body is None:
            return Answer(Outcome.WRONG_ANSWER)
        if status == httpx2.codes.OK:
            return self._judge(note, body, signed_at)
        if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
            return Answer(Outcome.UNAVAILABLE)
        outcome = _BY_STATUS.get(status, Outcome.WRONG_ANSWER)
        return Answer(outcome, size=decode_decimal(body.removesuffix("\n")) if outcome is Outcome.CONFLICT else None)

    async def _post(self, content: bytes) -> tuple[int, str | None]:
        """Status and body; None for a body that is too long or not UTF-8. Compressed ones are not asked for."""
        headers = {"content-type": "text/plain; charset=utf-8", "accept-encoding": "identity"}
        async with self._http.stream("POST", self._url, content=content, headers=headers) as answer:
            body = b""
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    return answer.status_code, None
        try:
            return answer.status_code, body.decode("utf-8")
        except UnicodeDecodeError:
            return answer.status_code, None

    def _judge(self, note: str, body: str, signed_at: float) -> Answer:
        """Whether a 200 is worth keeping."""
        try:
            line, signature = cosignature_line(note, body, self.witness.key)
        except CheckpointError:
            return Answer(Outcome.WRONG_ANSWER)
        cosigned_at = signature.timestamp or 0
        if not signed_at - CLOCK_SKEW_S <= cosigned_at <= time.time() + CLOCK_SKEW_S:
            return Answer(Outcome.WRONG_TIME)
        return Answer(Outcome.COSIGNED, line, cosigned_at)
