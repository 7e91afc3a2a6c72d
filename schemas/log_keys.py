"""Keys in time: the signing keys a log ever had, and the statements by which each handed over to the next.

A statement is a signed note under both keys, so trust in one key of a chain reaches every other, offline
(docs/proof-format.md, Keys in time). Invariant: one statement that does not hold condemns the whole document.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.errors import CheckpointError, ProofError
from schemas.note import (
    KeyKind,
    VerifierKey,
    decode_decimal,
    open_note,
    parse_verifier_key,
    signed_note,
)
from schemas.strict_json import read_canonical

FORMAT: Final = "sayso-keys/v1"
STATEMENT_HEADER: Final = "sayso/log-key/v1"
# One a year for longer than a log lives; a verifier need not follow a stranger's endless chain.
KEYS_MAX: Final = 1000

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{6})?Z", re.ASCII)
_DOCUMENT_MEMBERS: Final = frozenset({"format", "log", "keys"})
_LOG_MEMBERS: Final = frozenset({"name", "origin"})
_KEY_MEMBERS: Final = frozenset({"number", "vkey", "made_at", "ends_at", "statement"})


@dataclass(frozen=True, slots=True)
class KeyStatement:
    """What two keys of a log sign: from checkpoints larger than `from_size` on, key `number` (2 or more) signs too.

    before: key `number` - 1. new: key `number`. Both are Ed25519 keys (type 01) under the log's origin as name.
    Raises CheckpointError for a statement that no log makes.
    """

    number: int
    before: VerifierKey
    new: VerifierKey
    from_size: int

    def __post_init__(self) -> None:
        """Refuse what would not read back as the same statement."""
        kinds = {self.before.kind, self.new.kind}
        if self.number < 2 or self.from_size < 0 or kinds != {KeyKind.ED25519}:
            raise CheckpointError("a key statement is about key 2 or later, a size from 0 on, and two Ed25519 keys")
        if self.before.name != self.new.name or self.before == self.new:
            raise CheckpointError("a key statement is about two different keys of one log")

    def text(self) -> str:
        """The six lines that both keys sign."""
        lines = (STATEMENT_HEADER, self.new.name, self.number, self.before, self.new, self.from_size)
        return "".join(f"{line}\n" for line in lines)

    def sign(self, by_before: Callable[[bytes], bytes], by_new: Callable[[bytes], bytes]) -> str:
        """The signed note; each callable makes its key's Ed25519 signature of a message."""
        text = self.text()
        message = text.encode()
        return signed_note(text, [(self.before, by_before(message)), (self.new, by_new(message))])


def read_statement(note: str) -> KeyStatement:
    """Read and verify a statement: its form, and the signatures of both keys it names. Raises CheckpointError."""
    # 1. The six lines, strictly.
    lines = note.partition("\n\n")[0].split("\n")
    if len(lines) != 6 or lines[0] != STATEMENT_HEADER:
        raise CheckpointError("not a statement about a log's keys: it must have six lines, of which the first is fixed")
    _, origin, number, before, new, from_size = lines
    numbers = decode_decimal(number), decode_decimal(from_size)
    if numbers[0] is None or numbers[1] is None:
        raise CheckpointError("a number in a key statement is not a plain decimal below 2^63")
    statement = KeyStatement(numbers[0], parse_verifier_key(before), parse_verifier_key(new), numbers[1])
    if statement.new.name != origin:
        raise CheckpointError("a key statement names keys of another log than its own")
    # 2. Both keys have signed these very lines, in this order, and nobody else has.
    opened = open_note(note, [statement.before, statement.new])
    signers = [signature.key for signature in opened.signatures]
    if signers != [statement.before, statement.new] or note.rpartition("\n\n")[2].count("\n") != len(signers):
        raise CheckpointError("a key statement must be signed by the key before and the new key, and nobody else")
    if opened.text != statement.text():
        raise CheckpointError("a key statement is not spelled as logs spell it")
    return statement


@dataclass(frozen=True, slots=True)
class LogKey:
    """One key of a log. from_size: it signs checkpoints larger than that; None for the first key, which signs from 0.

    made_at, ends_at: RFC 3339, for people; they prove nothing. statement: the note that introduced it, verbatim.
    """

    number: int
    vkey: VerifierKey
    made_at: str
    ends_at: str | None
    statement: str | None
    from_size: int | None


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The verified chain of a log's keys, in order, number 1 first."""

    name: str
    origin: str
    keys: tuple[LogKey, ...]

    def document(self) -> dict[str, Any]:
        """The members of a `sayso-keys/v1` document."""
        keys = [
            {
                "number": key.number,
                "vkey": str(key.vkey),
                "made_at": key.made_at,
                "ends_at": key.ends_at,
                "statement": key.statement,
            }
            for key in self.keys
        ]
        return {"format": FORMAT, "log": {"name": self.name, "origin": self.origin}, "keys": keys}


def read_log_keys(raw: bytes) -> LogKeys:
    """Read and verify a canonical `sayso-keys/v1` document. Raises ProofError."""
    return check_log_keys(read_canonical(raw, "keys.json", controls=True))


def check_log_keys(document: Mapping[str, Any]) -> LogKeys:
    """Verify a parsed document strictly: types, members, numbers without a gap, every statement. Raises ProofError."""
    if document.get("format") != FORMAT or set(document) != _DOCUMENT_MEMBERS:
        raise ProofError(f"not a document of the format {FORMAT}, or it has other members")
    log, keys = document["log"], document["keys"]
    if type(log) is not dict or set(log) != _LOG_MEMBERS or not all(type(value) is str for value in log.values()):
        raise ProofError("the keys must name their log by name and origin")
    if type(keys) is not list or not 1 <= len(keys) <= KEYS_MAX:
        raise ProofError(f"the keys of a log are a list of 1 to {KEYS_MAX}")
    chain: list[LogKey] = []
    for number, members in enumerate(keys, start=1):
        chain.append(_next_key(members, number, log["origin"], chain))
    if len({key.vkey for key in chain}) != len(chain):
        raise ProofError("one key stands twice in the chain of a log's keys")
    return LogKeys(log["name"], log["origin"], tuple(chain))


def _next_key(members: Any, number: int, origin: str, chain: list[LogKey]) -> LogKey:
    if type(members) is not dict or set(members) != _KEY_MEMBERS:
        raise ProofError(f"key {number} of the log has unknown members or lacks some")
    made_at, ends_at, statement = members["made_at"], members["ends_at"], members["statement"]
    if type(members["number"]) is not int or members["number"] != number:
        raise ProofError("the keys of a log are numbered from 1 without a gap")
    if not _is_time(made_at) or not (ends_at is None or _is_time(ends_at)):
        raise ProofError(f"a time of key {number} is not written as RFC 3339 in UTC")
    if type(members["vkey"]) is not str:
        raise ProofError(f"key {number} is not a verifier key")
    vkey = parse_verifier_key(members["vkey"])
    if vkey.kind is not KeyKind.ED25519 or vkey.name != origin:
        raise ProofError(f"key {number} is not an Ed25519 key under the log's origin")
    if not chain:
        if statement is not None:
            raise ProofError("the first key of a log has no statement")
        return LogKey(number, vkey, made_at, ends_at, None, None)
    if type(statement) is not str:
        raise ProofError(f"key {number} has no statement, so nothing ties it to the key before")
    said = read_statement(statement)
    if (said.number, said.before, said.new) != (number, chain[-1].vkey, vkey):
        raise ProofError(f"the statement of key {number} is about other keys")
    if said.from_size < (chain[-1].from_size or 0):
        raise ProofError(f"key {number} begins before the key before it")
    return LogKey(number, vkey, made_at, ends_at, statement, said.from_size)


def _is_time(value: Any) -> bool:
    return type(value) is str and _TIME.fullmatch(value) is not None


def keys_at(keys: LogKeys, size: int) -> tuple[VerifierKey, ...]:
    """The keys that count for a checkpoint of this size: those that had begun to sign by then."""
    return tuple(key.vkey for key in keys.keys if key.from_size is None or size > key.from_size)


def trusted_keys(keys: LogKeys, trusted_vkeys: Collection[str]) -> frozenset[VerifierKey]:
    """Every key of the chain, if the reader trusts one of them already. Raises ProofError if none is.

    Both keys sign each statement: the one before vouches for the next, and the next names the one before as its own.
    """
    trusted = {parse_verifier_key(vkey) for vkey in trusted_vkeys}
    chain = frozenset(key.vkey for key in keys.keys)
    if not trusted & chain:
        raise ProofError("no chain of keys leads to the key given for this log: compare the origins")
    return chain
