"""The rule for linked subjects in words: a slow reference for what stands, one person, purpose and pair at a time.

Days are whole numbers; it shares no line with services.query.links, so that agreement between the two means something.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from schemas.events import PERMISSIVE

# Linked are these, the weaker one first: a device, two accounts, and an address that is both weaker and stronger.
PAIRS = [("phone", "ann"), ("phone", "bob"), ("phone", "mail"), ("mail", "ann")]
PEOPLE = {"phone": "cookie", "mail": "email", "ann": "account", "bob": "account"}
# The scopes of the purposes p and q in two versions of the notice.
OLD, NEW = {"p": "device", "q": "account"}, {"p": "account", "q": "device"}
PUBLISHED = {"old": (-2, OLD), "new": (2, NEW)}


@dataclass(frozen=True)
class Sign:
    """In or out."""

    weak: str
    strong: str
    state: str
    time: int
    received: int

    @property
    def at(self) -> int:
        return min(self.time, self.received)


@dataclass(frozen=True)
class Said:
    """One answer. `name` is its event's in the dedupe, the last tie-breaker."""

    who: str
    purpose: str
    basis: str
    decision: str
    time: int
    received: int
    notice: str | None
    unconfirmed: bool
    number: int = 0
    name: bytes = b""

    @property
    def rank(self) -> float:
        if self.decision not in PERMISSIVE:
            return self.received
        return -1000 if self.unconfirmed else self.made

    @property
    def made(self) -> int:
        return min(self.time, self.received)

    def order(self) -> tuple[float, bool, bytes]:
        return self.rank, self.decision not in PERMISSIVE, self.name


# Few and colliding, so that most stories are about the same thing.
days = st.integers(0, 4)
signs = st.builds(
    lambda pair, state, time, received: Sign(pair[0], pair[1], state, time, received),
    st.sampled_from([PAIRS[0], PAIRS[0], *PAIRS]),
    st.sampled_from(["linked", "linked", "ended"]),
    days,
    days,
)
answers = st.builds(
    lambda who, purpose, said, time, received, notice, unconfirmed: Said(
        who, purpose, said[0], said[1], time, received, notice, unconfirmed
    ),
    st.sampled_from(["phone", "phone", "ann", "ann", *PEOPLE]),
    st.sampled_from("qqp"),
    st.sampled_from([("consent", "granted")] * 3 + [("consent", "denied")] * 2 + [("legitimate_interest", "objected")]),
    days,
    days,
    st.sampled_from(["old", "new", None]),
    st.sampled_from([False, False, False, True]),
)


class Reference:
    """The rule in words, one person, purpose and pair at a time."""

    def __init__(self, signs: list[Sign], said: list[Said], at: float, known_at: float) -> None:
        self.signs = [s for s in signs if s.received <= known_at and s.at <= at]
        self.said = [d for d in said if d.received <= known_at and d.rank <= at and d.made <= max(at, d.rank)]
        self.at, self.known_at = at, known_at

    def is_linked(self, weak: str, strong: str, moment: float) -> bool:
        """The last that was said of the two by then; at one moment the sign-out."""
        told = [s for s in self.signs if (s.weak, s.strong) == (weak, strong) and s.at <= moment]
        last = max((s.at for s in told), default=None)
        return last is not None and all(s.state == "linked" for s in told if s.at == last)

    def is_account(self, said: Said) -> bool:
        for name, (published, scopes) in PUBLISHED.items():
            if said.notice == name and published <= self.known_at:
                return scopes[said.purpose] == "account"
        newest = "new" if PUBLISHED["new"][0] <= min(self.at, self.known_at) else "old"
        return PUBLISHED[newest][1][said.purpose] == "account"

    def stands(self, asked: str, purpose: str, basis: str) -> tuple[Said, str] | None:
        """What stands, and by whom."""
        about = [d for d in self.said if (d.purpose, d.basis) == (purpose, basis)]
        own = max((d for d in about if d.who == asked), key=Said.order, default=None)
        carried = [
            d
            for d in about
            if self.is_linked(d.who, asked, d.made) or (d.rank > -1000 and self.is_linked(d.who, asked, d.rank))
        ]
        best = max([*([own] if own else []), *carried], key=Said.order, default=None)
        if own and own.rank > -1000 and self.is_account(own):
            best = own
        accounts = [strong for weak, strong in PAIRS if weak == asked and self.is_linked(weak, strong, self.at)]
        theirs = [max((d for d in about if d.who == a), key=Said.order, default=None) for a in accounts]
        count = [d for d in theirs if d and self.is_account(d)]
        if len(accounts) > 1:
            count = [d for d in count if d.decision not in PERMISSIVE]
        top = max(count, key=Said.order, default=None)
        if top and (best is None or top.rank > -1000):
            best = top
        return None if best is None else (best, best.who)
