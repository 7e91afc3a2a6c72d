"""What the bench measures with: the example event and its variations, answers on a connection, the table, CPU times."""

import json
import os
import re
from itertools import islice

import pytest

from bench.client import answer_length
from bench.machine import Tree, cpu_s
from bench.report import Row, table
from bench.workload import Events, Notice, event_bytes, example_event
from schemas.events import Event

pytestmark = pytest.mark.unit

NOTICE = Notice("ab" * 32, "t" * 169)


def test_the_published_event_is_valid_and_about_820_bytes() -> None:
    Event.model_validate(example_event())
    assert 800 <= event_bytes() <= 840
    # The token's placeholder is as long as a real one, so that what is posted has the size that is stated.
    assert len(next(Events(NOTICE))) == event_bytes()


def test_events_differ_in_id_and_subject_and_stay_valid() -> None:
    events = [json.loads(raw) for raw in islice(Events(NOTICE), 200)]
    for event in events:
        Event.model_validate(event)
    assert len({event["id"] for event in events}) == 200
    assert len({event["data"]["subject"]["identifiers"][0]["value"] for event in events}) == 200


def test_two_runs_never_make_the_same_id() -> None:
    first, second = (re.search(rb'"id":"([^"]+)"', next(Events(NOTICE))) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first[1] != second[1]


def test_ten_a_subject_is_the_average_and_spread_over_batches() -> None:
    values = [
        json.loads(raw)["data"]["subject"]["identifiers"][0]["value"]
        for raw in islice(Events(NOTICE, per_subject=10), 20_000)
    ]
    assert 6 < len(values) / len(set(values)) < 11
    assert len(set(values[10_000:10_500])) > 300


def test_the_id_of_a_rendered_event_is_where_it_says() -> None:
    events = Events(NOTICE)
    raw = next(events)
    assert raw[events.id_at : events.id_at + 36].decode() == json.loads(raw)["id"]


@pytest.mark.parametrize(
    ("buffer", "length"),
    [
        (b"HTTP/1.1 202 Accepted\r\ncontent-le", None),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\n", 49),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\nx: y\r\n\r\n{}", 63),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 27),
    ],
)
def test_the_length_of_an_answer(buffer: bytes, length: int | None) -> None:
    assert answer_length(buffer) == length


def test_a_row_is_reached_by_ratio_or_by_time() -> None:
    ratio = Row(1, "a", "1", "2", ratio=0.61, at_least=0.60)
    late = Row(4, "b", "260 ms", "", within_ms=250, measured_ms=260)
    assert ratio.reached
    assert not late.reached
    lines = table([ratio, late]).splitlines()
    assert lines[2].endswith("reached")
    assert lines[3].endswith("NOT REACHED")


def test_cpu_time_of_a_process_and_of_its_children_grows() -> None:
    before, children = cpu_s(os.getpid()), Tree(os.getpid()).cpu_s()
    while cpu_s(os.getpid()) < before + 0.05:
        sum(range(100_000))
    # Both are sums of 10 ms ticks, as floats: one tick less than was seen is room for their rounding.
    assert Tree(os.getpid()).cpu_s() > children + 0.035
