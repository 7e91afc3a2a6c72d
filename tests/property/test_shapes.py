"""The schema check by shape against the schema check itself: whatever was learned, both say the same of an event."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import canonical_json
from schemas.errors import Problem
from services.ingest.accept import check_schema
from services.ingest.reading import Readable
from services.ingest.shapes import SHAPES_MAX, Shapes
from tests.support.deployment import consent_event

pytestmark = pytest.mark.property

LEARNED = [
    consent_event(1),
    consent_event(2, subject="another"),
    consent_event(3, guardian={"identifier": {"type": "cookie", "value": "g"}}, context={"page": "/"}),
    {**consent_event(4), "type": "identity.linked"}
    | {"data": {"subject": {"identifiers": [{"type": "cookie", "value": "a"}, {"type": "account", "value": "b"}]}}},
    {**consent_event(5), "type": "notice.served", "data": {}},
    {**consent_event(7), "visitorkey": "vk_" + "k" * 43},
    {**consent_event(8), "capability": "cap_x", "identity": "id_x.y"},
]
ODD = st.sampled_from(
    [
        *("", "x", "\u00e9", "x" * 321, 0, 1, 1.0, True, False, None, [], {}, [None], {"value": "x"}),
        *("2026-11-01T09:00:00Z", "2026-02-30T09:00:00Z"),
        *("vk_" + "z" * 43, "cap_z", "id_z.z", "vk_", "id_z"),
        *(consent_event(6)["id"], consent_event(6)["id"].upper(), consent_event(6)["id"] + "\n"),
    ]
).map(deepcopy)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in the event, and the event's own."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for step, child in children for place in places(child, (*path, step)))]


@st.composite
def events(draw: st.DrawFn) -> Any:
    """A learned event with up to three things in it replaced, removed or added."""
    event: Any = deepcopy(draw(st.sampled_from(LEARNED)))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(event)))
        if not path:
            continue
        node = event
        for step in path[:-1]:
            node = node[step]
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "replace":
            node[path[-1]] = draw(ODD)
        elif what == "remove":
            del node[path[-1]]
        elif isinstance(node, dict):
            node[draw(st.sampled_from(["value", "type", "ext", "id", "unknown"]))] = draw(ODD)
        else:
            node.append(draw(ODD))
    return event


def learned() -> Shapes:
    shapes = Shapes()
    for event in LEARNED:
        shapes.learn(Readable(event, canonical_json(event)))
    return shapes


SHAPES = learned()


@given(events())
def test_what_is_known_by_its_shape_is_taken_by_the_schema(event: Any) -> None:
    readable = Readable(event, canonical_json(event))
    if SHAPES.knows(readable):
        check_schema(readable)  # raises nothing


@given(st.integers(10, 99), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=320))
def test_another_id_time_and_subject_have_the_same_shape(number: int, subject: str) -> None:
    event = consent_event(number, subject=subject, time=f"2026-11-01T09:00:{number % 60:02}.5Z")
    assert SHAPES.knows(Readable(event, canonical_json(event)))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("id", consent_event(1)["id"].upper()),
        ("id", consent_event(1)["id"] + "\n"),
        ("id", 5),
        ("time", "2026-02-30T09:00:00Z"),
        ("time", None),
        ("value", ""),
        ("value", "x" * 321),
        ("value", 5),
    ],
)
def test_what_a_shape_leaves_empty_is_looked_at_each_time(member: str, value: Any) -> None:
    event = consent_event(1)
    if member == "value":
        event["data"]["subject"]["identifiers"][0]["value"] = value
    else:
        event[member] = value
    readable = Readable(event, canonical_json(event))
    assert not SHAPES.knows(readable)
    with pytest.raises(Problem):
        check_schema(readable)


@pytest.mark.parametrize("value", [5, None, "text", [], {}, {"data": None}, {"data": {"subject": []}}], ids=repr)
def test_what_is_no_event_has_no_shape(value: Any) -> None:
    readable = Readable(value, canonical_json(value))
    assert not SHAPES.knows(readable)
    with pytest.raises(Problem):
        check_schema(readable)


def test_what_is_remembered_is_bounded() -> None:
    shapes = Shapes()
    for number in range(SHAPES_MAX + 10):
        event = consent_event(1, jurisdiction=f"place {number}")
        shapes.learn(Readable(event, canonical_json(event)))
    assert len(shapes._known) <= SHAPES_MAX


def test_nothing_that_was_posted_is_remembered() -> None:
    """Free text stands in a shape: a process must not hold it once the request is over."""
    shapes = Shapes()
    event = consent_event(1, ext={"note": "for Eve"}, signals={"tcf": "C" * 10_000})
    readable = Readable(event, canonical_json(event))
    shapes.learn(readable)
    assert shapes.knows(readable)
    assert {len(name) for name in shapes._known} == {32}
    another = Shapes()
    another.learn(readable)
    assert another._known != shapes._known, "what it remembers means nothing to another process"
