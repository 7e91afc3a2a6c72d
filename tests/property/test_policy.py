"""Policies against a slow reference: random trees of groups, every or many sets of witnesses."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ProofError
from schemas.policy import parse_policy
from tests.support.witness import ED25519, key_pair

pytestmark = pytest.mark.property

WITNESSES_MAX = 9
VKEYS = [key_pair(f"w.example/{n}", ED25519, (n + 1).to_bytes(32, "big"))[0] for n in range(WITNESSES_MAX)]


@dataclass(frozen=True)
class Node:
    """A witness (no members) or a group."""

    name: str
    threshold: int = 0
    members: tuple["Node", ...] = ()


def met(node: Node, cosigned: frozenset[str]) -> bool:
    """By definition, from the root down."""
    if not node.members:
        return node.name in cosigned
    return [met(member, cosigned) for member in node.members].count(True) >= node.threshold


def rule(node: Node, *, spelled: bool) -> str:
    words = {len(node.members): "all", 1: "any"}
    return words.get(node.threshold, str(node.threshold)) if spelled else str(node.threshold)


@st.composite
def policies(draw: st.DrawFn) -> tuple[str, Node, list[str]]:
    """The text of a policy, its quorum as a tree, and the names of its witnesses."""
    names = [f"w{n}" for n in range(draw(st.integers(1, WITNESSES_MAX)))]
    lines = [f"witness {name} {vkey}" for name, vkey in zip(names, VKEYS, strict=False)]
    free = [Node(name) for name in names]
    for number in range(draw(st.integers(0, 5))):
        if not free:
            break
        members = draw(st.lists(st.sampled_from(free), min_size=1, max_size=4, unique=True))
        group = Node(f"g{number}", draw(st.integers(1, len(members))), tuple(members))
        free = [node for node in free if node not in members] + [group]
        listed = " ".join(member.name for member in members)
        lines.append(f"group {group.name} {rule(group, spelled=draw(st.booleans()))} {listed}")
    quorum = draw(st.sampled_from(free))
    lines.append(f"quorum {quorum.name}")
    return "".join(f"{line}\n" for line in lines), quorum, names


@given(policies(), st.sets(st.sampled_from([f"w{n}" for n in range(WITNESSES_MAX)])))
def test_a_quorum_is_what_its_definition_says(made: tuple[str, Node, list[str]], cosigned: set[str]) -> None:
    text, quorum, names = made
    policy = parse_policy(text)
    assert policy.is_met(cosigned) is met(quorum, frozenset(cosigned) & frozenset(names))
    # More cosignatures never undo a quorum.
    assert policy.is_met(cosigned | set(names)) is met(quorum, frozenset(names))
    assert policy.is_met(names) >= policy.is_met(cosigned)


@given(policies(), st.data())
def test_a_damaged_line_never_reads_as_a_weaker_policy(made: tuple[str, Node, list[str]], data: st.DataObject) -> None:
    """A line left out is refused or leaves the quorum as it was: no group can lose a member unseen."""
    text, quorum, names = made
    lines = text.splitlines(keepends=True)
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    try:
        policy = parse_policy("".join(lines))
    except ProofError:
        return
    assert policy.is_met(names) == met(quorum, frozenset(names))
    for name in names:
        cosigned = frozenset(names) - {name}
        assert policy.is_met(cosigned) == met(quorum, cosigned)
