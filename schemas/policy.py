"""C2SP tlog-policy: which logs and witnesses are known, and which cosignatures make a checkpoint good enough.

A file of lines `log`, `witness`, `group` and `quorum`; names are its own and mean nothing outside of it.
Invariant: a name is used only after the line that defines it, and at most once as a member, so that there are no cycles
and every witness counts in one way.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from schemas.errors import CheckpointError, ProofError
from schemas.note import (
    KeyKind,
    Signature,
    VerifierKey,
    decode_decimal,
    open_note,
    parse_tree_head,
    parse_verifier_key,
)

# The policy that asks for no cosignature; it can name neither a witness nor a group.
NONE: Final = "none"
_SPACES = re.compile(r"[ \t]+")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_GROUP_ITEMS_MIN: Final = 3


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log that the policy accepts: its verifier key, whose name is the origin, and where it is, if the file says."""

    key: VerifierKey
    url: str | None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness: its name within the policy, its key (type 04 or 06), its submission prefix, if the file says."""

    name: str
    key: VerifierKey
    url: str | None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group has witnessed a checkpoint when at least `threshold` of its members (witnesses or groups) have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy, in the order of its file. quorum: the name of a witness or group, or None for `quorum none`."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str | None

    def is_met(self, cosigned: Collection[str]) -> bool:
        """Whether cosignatures of the witnesses with these names (in this policy) are enough."""
        witnessed = {witness.name for witness in self.witnesses if witness.name in cosigned}
        # Members are defined before their group, so one pass in the order of the file settles all of them.
        for group in self.groups:
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return self.quorum is None or self.quorum in witnessed

    def accepts_log(self, origin: str) -> bool:
        """Whether the policy is about this log: it names it, or names none and leaves that to its reader."""
        return not self.logs or any(log.key.name == origin for log in self.logs)


class _Reader:
    """The policy as far as it is read: `line` takes one line, the methods below it the items after its keyword."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[PolicyGroup] = []
        self.quorums: list[str | None] = []
        # Names defined so far that no group has as a member yet, and those that one has.
        self._free: set[str] = set()
        self._taken: set[str] = set()
        self._public_keys: set[tuple[bool, bytes]] = set()

    def line(self, line: str) -> None:
        """One line without its newline; comments and empty lines say nothing."""
        if _FORBIDDEN.search(line):
            raise ProofError("it holds a control character: save the file with plain newlines, without returns")
        keyword, *items = _SPACES.split(line.strip(" \t"))
        if not keyword or keyword.startswith("#"):
            return
        read = {"log": self.log, "witness": self.witness, "group": self.group, "quorum": self.quorum}.get(keyword)
        if read is None:
            raise ProofError("it begins with none of log, witness, group and quorum: correct it or put # before it")
        read(items)

    def log(self, items: list[str]) -> None:
        """`log <vkey> [<url>]`."""
        if not 1 <= len(items) <= 2:
            raise ProofError("write log <vkey> [<url>], and comments on lines of their own")
        key = self._key(items[0], {KeyKind.ED25519}, "a log's key must be of type 01 (Ed25519)")
        self.logs.append(PolicyLog(key, items[1] if len(items) > 1 else None))

    def witness(self, items: list[str]) -> None:
        """`witness <name> <vkey> [<url>]`."""
        if not 2 <= len(items) <= 3:
            raise ProofError("write witness <name> <vkey> [<url>], and comments on lines of their own")
        kinds = {KeyKind.COSIGNATURE_V1, KeyKind.ML_DSA_44}
        key = self._key(items[1], kinds, "a witness's key must be of type 04 (cosignature/v1) or 06 (ML-DSA-44)")
        self._define(items[0])
        self.witnesses.append(PolicyWitness(items[0], key, items[2] if len(items) > 2 else None))

    def group(self, items: list[str]) -> None:
        """`group <name> all|any|<k> <name>...`."""
        if len(items) < _GROUP_ITEMS_MIN:
            raise ProofError("write group <name> all|any|<k> <name>..., with at least one member")
        name, rule, *members = items
        for member in members:
            self._use(member)
            if member in self._taken:
                raise ProofError("a name stands as a member a second time: let each witness and group count once")
            self._taken.add(member)
        threshold = {"all": len(members), "any": 1}.get(rule, decode_decimal(rule))
        if threshold is None or not 1 <= threshold <= len(members):
            raise ProofError("the rule of a group is all, any, or a number from 1 to the number of its members")
        self._define(name)
        self.groups.append(PolicyGroup(name, threshold, tuple(members)))

    def quorum(self, items: list[str]) -> None:
        """`quorum <name>|none`."""
        if len(items) != 1:
            raise ProofError("write quorum <name> or quorum none, and comments on lines of their own")
        if self.quorums:
            raise ProofError("there is a quorum line already: keep one, and combine names with a group")
        if items[0] != NONE:
            self._use(items[0])
        self.quorums.append(None if items[0] == NONE else items[0])

    def _define(self, name: str) -> None:
        if name == NONE:
            raise ProofError(f"the name {NONE} is reserved for the quorum: choose another")
        if name in self._free:
            raise ProofError("the name is already that of a witness or group: names must differ")
        self._free.add(name)

    def _use(self, name: str) -> None:
        if name == NONE:
            raise ProofError(f"{NONE} stands only alone, as the quorum")
        if name not in self._free:
            raise ProofError("a name is used that no line above defines: define witnesses and groups before their use")

    def _key(self, vkey: str, kinds: set[KeyKind], otherwise: str) -> VerifierKey:
        key = parse_verifier_key(vkey)
        if key.kind not in kinds:
            raise ProofError(otherwise)
        # The same bytes under another name would let one party count twice.
        place = key.kind is KeyKind.ED25519, key.public_key
        if place in self._public_keys:
            raise ProofError("the same public key stands on a line above: list every key once")
        self._public_keys.add(place)
        return key


def parse_policy(data: str | bytes) -> Policy:
    """Read a policy file. Raises ProofError that names the line (from 1) and says what to do."""
    # 1. Text: UTF-8, whole lines, no control characters but tab and newline.
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError:
        raise ProofError("the policy is not UTF-8: save it as plain text") from None
    lines = text.split("\n")
    if lines.pop():
        raise ProofError("the policy does not end in a newline: it may be cut off; add the newline if it is whole")
    # 2. Line by line; what a line names must stand above it.
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        try:
            reader.line(line)
        except ProofError as error:
            raise ProofError(f"line {number} of the policy: {error}") from None
    # 3. Exactly one quorum.
    if not reader.quorums:
        raise ProofError("the policy has no quorum line: add quorum <name>, or quorum none to ask for no cosignature")
    return Policy(tuple(reader.logs), tuple(reader.witnesses), tuple(reader.groups), reader.quorums[0])


def verify_policy(note: str | bytes, origin: str, policy: Policy) -> tuple[Signature, ...]:
    """The signatures of a checkpoint's note by keys of the policy, which they satisfy; times are Unix seconds.

    Without `log` lines in the policy the caller has verified the log's own signature elsewhere (`open_checkpoint`).
    Raises ProofError when the checkpoint is of another log, lacks quorum, or a known key's signature on it fails.
    """
    # 1. The policy is about this log.
    if not policy.accepts_log(origin):
        raise ProofError("the policy does not list this log: use the policy that was made for it")
    logs = [log.key for log in policy.logs if log.key.name == origin]
    if policy.quorum is None and not logs:
        return ()  # it asks for nothing
    # 2. Every signature by a key of the policy verifies, and the note is this log's.
    opened = open_note(note, [*logs, *(witness.key for witness in policy.witnesses)])
    if parse_tree_head(opened.text).origin != origin:
        raise CheckpointError("the checkpoint is of another log than the one expected")
    signers = {signature.key for signature in opened.signatures}
    # 3. One of the listed keys of the log has signed.
    if logs and not signers.intersection(logs):
        raise CheckpointError("no key that the policy lists for this log has signed the checkpoint")
    # 4. The witnesses whose cosignatures verified make the quorum.
    cosigned = [witness.name for witness in policy.witnesses if witness.key in signers]
    if not policy.is_met(cosigned):
        raise ProofError(
            f"{len(cosigned)} of the policy's {len(policy.witnesses)} witnesses have cosigned the checkpoint, and that "
            "is not its quorum: fetch a checkpoint that more of them have cosigned"
        )
    return opened.signatures
