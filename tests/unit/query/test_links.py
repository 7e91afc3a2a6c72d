"""What stands for linked subjects, pure: the fold, the times of links and the union against a slow reference."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.record import format_time
from services.query.decisions import fold
from services.query.links import Act, Scope, Scopes, is_carried, linked_at, of_several, unite
from services.query.validity import Answer, Match, Notices
from tests.support.linked_reference import PEOPLE, PUBLISHED, Reference, Said, Sign, answers, days, signs
from tests.unit.query.test_validity import notice

START = datetime(2026, 11, 1, tzinfo=UTC)
IDS = {name: UUID(int=number) for number, name in enumerate(PEOPLE)}
NAMES = {one: name for name, one in IDS.items()}
HASHES = {version: bytes([number]) * 32 for number, version in enumerate(PUBLISHED)}


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def what_of(said: Said) -> dict[str, Any]:
    what: dict[str, Any] = {
        "id": str(said.number),
        "type": "consent.given",
        "time": format_time(day(said.time)),
        "site": "shop.example",
        "posted_by": "server",
        "marks": ["unconfirmed"] if said.unconfirmed else [],
        "decisions": [{"purpose": said.purpose, "legal_basis": said.basis, "decision": said.decision}],
    }
    if said.notice is not None:
        what["notice"] = {"sha256": HASHES[said.notice].hex()}
    return what


def stands(told: list[Sign], said: list[Said], asked: str, at: datetime, known_at: datetime) -> list[Answer]:
    """As Decisions puts them together, without a database."""
    acts = [Act(IDS[s.weak], IDS[s.strong], s.state, day(s.at), day(s.received)) for s in told]
    linked = linked_at(IDS[asked], acts, at, known_at)

    def folded(one: UUID, **counts: Any) -> list[Answer]:
        records = {d.name: (what_of(d), day(d.received)) for d in said if IDS[d.who] == one}
        through = None if one == IDS[asked] else one
        return [
            Answer(d, "shop", 0, records[d.event][1], records[d.event][0], through)
            for d in fold(records, at, known_at, **counts)
        ]

    def carried(weak: UUID) -> list[Answer]:
        return folded(weak, counts=lambda decided, made: is_carried(decided, made, linked.weak[weak]))

    scopes = [
        Scope(HASHES[version], "shop.example", day(published), purpose, scope)
        for version, (published, of_purposes) in PUBLISHED.items()
        for purpose, scope in of_purposes.items()
    ]
    published = [
        notice(v, 0, notice=HASHES[v], site="shop.example", published_at=day(n)) for v, (n, _) in PUBLISHED.items()
    ]
    known = Notices(published, list[Match](), at, known_at)
    weaker = [answer for weak in linked.weak for answer in carried(weak)]
    stronger = of_several([answer for one in linked.strong for answer in folded(one)], len(linked.strong))
    return unite(folded(IDS[asked]), weaker, stronger, Scopes(scopes, known, at, known_at).is_account)


@pytest.mark.property
@settings(max_examples=250)
@given(
    st.lists(signs, max_size=7), st.lists(answers, min_size=1, max_size=8), days, days, st.sampled_from(list(PEOPLE))
)
def test_what_stands_is_what_the_rule_says(
    told: list[Sign], drawn: list[Said], at: int, known_at: int, asked: str
) -> None:
    said = [Said(**{**d.__dict__, "number": n, "name": bytes([n]) * 16}) for n, d in enumerate(drawn)]
    rule = Reference(told, said, at, known_at)
    shown = {
        (a.decided.purpose, a.decided.legal_basis): (a.decided.event, NAMES[a.through] if a.through else asked)
        for a in stands(told, said, asked, day(at), day(known_at))
    }
    expected = {}
    for purpose in "pq":
        for basis in ("consent", "legitimate_interest"):
            found = rule.stands(asked, purpose, basis)
            if found is not None:
                expected[purpose, basis] = found[0].name, found[1]
    assert shown == expected


def sign(strong: str, state: str, time: int, *, weak: str = "phone", received: int | None = None) -> Sign:
    return Sign(weak, strong, state, time, time if received is None else received)


def said(
    who: str,
    decision: str,
    time: int,
    *,
    received: int | None = None,
    purpose: str = "p",
    notice: str | None = "old",
    unconfirmed: bool = False,
) -> Said:
    at = time if received is None else received
    return Said(who, purpose, "consent", decision, time, at, notice, unconfirmed)


SIGNED_IN = sign("ann", "linked", 1)
# Name, sign-ins and -outs, answers, who is asked about; what stands then, and by whom. By the older notice purpose p is
# the device's and q the account's; by the newer it is the other way round.
CASES: dict[str, tuple[list[Sign], list[Said], str, tuple[str, str] | None]] = {
    "during the link": ([SIGNED_IN], [said("phone", "granted", 1)], "ann", ("granted", "phone")),
    "nothing backward": ([SIGNED_IN], [said("phone", "granted", 0)], "ann", None),
    "at the sign-out no longer": (
        [SIGNED_IN, sign("ann", "ended", 2)],
        [said("phone", "granted", 2)],
        "ann",
        None,
    ),
    "a denial made before the sign-out, received after": (
        [SIGNED_IN, sign("ann", "ended", 3)],
        [said("ann", "granted", 1), said("phone", "denied", 2, received=4)],
        "ann",
        ("denied", "phone"),
    ),
    "a denial made before the sign-in, received after": (
        [SIGNED_IN],
        [said("ann", "granted", 1), said("phone", "denied", 0, received=2)],
        "ann",
        ("denied", "phone"),
    ),
    "the account's own for its purpose": (
        [SIGNED_IN],
        [said("ann", "granted", 1, purpose="q"), said("phone", "denied", 2, purpose="q")],
        "ann",
        ("granted", "ann"),
    ),
    "not a grant that counts for nothing": (
        [SIGNED_IN],
        [said("ann", "granted", 1, purpose="q", unconfirmed=True), said("phone", "denied", 2, purpose="q")],
        "ann",
        ("denied", "phone"),
    ),
    "the account's for its purpose, at the device": (
        [SIGNED_IN],
        [said("ann", "denied", 0, purpose="q"), said("phone", "granted", 2, purpose="q")],
        "phone",
        ("denied", "ann"),
    ),
    "the device's for its purpose, at the device": (
        [SIGNED_IN],
        [said("ann", "denied", 2), said("phone", "granted", 1)],
        "phone",
        ("granted", "phone"),
    ),
    "no longer, signed out": (
        [SIGNED_IN, sign("ann", "ended", 2)],
        [said("ann", "granted", 0, purpose="q")],
        "phone",
        None,
    ),
    "one account's permission is not another's": (
        [SIGNED_IN, sign("bob", "linked", 1)],
        [said("ann", "granted", 0, purpose="q"), said("bob", "granted", 0, purpose="q")],
        "phone",
        None,
    ),
    "what either withholds counts": (
        [SIGNED_IN, sign("bob", "linked", 1)],
        [said("ann", "denied", 0, purpose="q"), said("bob", "granted", 1, purpose="q")],
        "phone",
        ("denied", "ann"),
    ),
    "not transitive": (
        [sign("mail", "linked", 0), sign("ann", "linked", 0, weak="mail")],
        [said("phone", "granted", 1)],
        "ann",
        None,
    ),
    "not transitive upwards": (
        [sign("mail", "linked", 0), sign("ann", "linked", 0, weak="mail")],
        [said("ann", "denied", 1, purpose="q")],
        "phone",
        None,
    ),
    "out and in at one moment is out": (
        [SIGNED_IN, sign("ann", "linked", 2), sign("ann", "ended", 2)],
        [said("phone", "granted", 3)],
        "ann",
        None,
    ),
    "a sign-out ranks when it was made, whenever it comes": (
        [SIGNED_IN, sign("ann", "ended", 2, received=4)],
        [said("phone", "granted", 3)],
        "ann",
        None,
    ),
    "by the newest notice where none was shown": (
        [SIGNED_IN],
        [said("ann", "granted", 1, notice=None), said("phone", "denied", 2)],
        "ann",
        ("granted", "ann"),
    ),
    "by the notice that was shown": (
        [SIGNED_IN],
        [said("ann", "granted", 1, notice="new", purpose="q"), said("phone", "denied", 2, purpose="q")],
        "ann",
        ("denied", "phone"),
    ),
}


@pytest.mark.unit
@pytest.mark.parametrize("name", CASES)
def test_a_rule_at_a_time(name: str) -> None:
    """And the reference says so too."""
    told, drawn, asked, expected = CASES[name]
    known = [Said(**{**d.__dict__, "number": n, "name": bytes([n]) * 16}) for n, d in enumerate(drawn)]
    found = [
        (answer.decided.decision, NAMES[answer.through] if answer.through else asked)
        for answer in stands(told, known, asked, day(5), day(5))
    ]
    assert found == ([] if expected is None else [expected])
    rule = Reference(told, known, 5, 5).stands(asked, known[0].purpose, "consent")
    assert (rule and (rule[0].decision, rule[1])) == expected


@pytest.mark.unit
def test_looking_back_a_later_sign_out_has_not_happened() -> None:
    told = [SIGNED_IN, sign("ann", "ended", 4)]
    for at, expected in ((2, ["denied"]), (4, [])):
        found = stands(told, [said("ann", "denied", 0, purpose="q")], "phone", day(at), day(5))
        assert [answer.decided.decision for answer in found] == expected
