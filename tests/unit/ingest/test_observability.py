"""Logs hold what is listed and nothing else, whoever writes them; metrics carry listed labels only."""

import asyncio
import logging
import os
from collections.abc import Iterator

import orjson
import pytest
import structlog
from prometheus_client import CollectorRegistry

from schemas.errors import StreamAway
from services.observability import configure_logging, counter, describe, get_logger, render_metrics

pytestmark = pytest.mark.unit

SECRET = "somebody@example.org"


@pytest.fixture(autouse=True)
def _configured() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging("test")
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    text = capsys.readouterr().out
    assert SECRET not in text
    return [orjson.loads(line) for line in text.splitlines()]


def test_a_key_that_is_not_listed_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger().info("batch recorded", email=SECRET, count=3, identifier=SECRET, log="shop")
    (line,) = lines(capsys)
    line.pop("timestamp")
    assert line == {"event": "batch recorded", "count": 3, "log": "shop", "level": "info", "service": "test"}


@pytest.mark.parametrize(
    "value", [{"a": SECRET}, [SECRET], SECRET.encode(), ValueError(SECRET)], ids=lambda v: type(v).__name__
)
def test_a_value_that_is_not_plain_is_named_by_its_type(capsys: pytest.CaptureFixture[str], value: object) -> None:
    get_logger().info("odd", detail=value)
    assert lines(capsys)[0]["detail"] == type(value).__name__


def test_an_exception_says_where_and_what_but_not_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        int(SECRET)
    except ValueError as error:
        get_logger().error("unforeseen error", **describe(error))
    (line,) = lines(capsys)
    assert line["error"] == "ValueError"
    assert "test_observability.py" in str(line["trace"])


def test_our_own_errors_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger().warning("refused", **describe(StreamAway()))
    assert "Retry-After" in str(lines(capsys)[0]["detail"])


def test_libraries_say_who_and_where_only(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("asyncpg").error("Key (value)=(%s) already exists", SECRET)
    logging.getLogger("asyncpg").error(f"already filled in: {SECRET}")  # noqa: G004 - as libraries do
    logging.getLogger("asyncpg").info("not worth a line %s", SECRET)
    try:
        os.environ[SECRET]
    except KeyError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    first, second, third = lines(capsys)
    assert first["template"] == "Key (value)=(%s) already exists"
    assert second["template"] is None
    assert (third["library"], third["error"]) == ("uvicorn.error", "KeyError")


def test_our_modules_may_log_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("services.stream.fallback").info("publishing to the inbox for %g s", 10.0)
    assert lines(capsys)[0]["event"] == "publishing to the inbox for 10 s"


async def test_a_lost_task_is_told_without_what_it_held(capsys: pytest.CaptureFixture[str]) -> None:
    loop = asyncio.get_running_loop()
    loop.default_exception_handler({"message": f"Task of {SECRET}", "exception": RuntimeError(SECRET)})
    (line,) = lines(capsys)
    assert (line["library"], line["error"]) == ("asyncio", "RuntimeError")


def test_metrics_carry_listed_labels_only() -> None:
    registry = CollectorRegistry()
    counter(registry, "things_total", "Things.", ["outcome"]).labels("done").inc()
    text, content_type = render_metrics(registry)
    assert b'things_total{outcome="done"} 1.0' in text
    assert content_type.startswith("text/plain")
    with pytest.raises(ValueError, match="METRIC_LABELS"):
        counter(registry, "others_total", "Others.", ["subject"])
