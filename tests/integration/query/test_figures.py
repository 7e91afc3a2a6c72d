"""GET /v1/figures: counts and rates by what they are asked by, of one controller, small ones held back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.query.conftest import Caller
from tests.integration.query.test_decisions import day
from tests.support.rows import Controller, notice_content

pytestmark = pytest.mark.integration

BEGIN, END = "2026-11-01", "2026-11-10"


@pytest.fixture
async def notice(shop: Controller) -> str:
    """A month of November's beginning: 60 yes and 20 no, some in German, some elsewhere."""
    notice = await shop.notice(notice_content(), day(-10))
    for number in range(10):
        await leave(shop, number, notice=notice, granted=6, denied=2)
    await leave(shop, 3, notice=notice, language="de", granted=3, denied=9, withdrawn=6)
    await leave(shop, 4, site="blog.example", purpose="mails", granted=100)
    return notice


async def leave(
    shop: Controller,
    number: float,
    *,
    site: str = "shop.example",
    purpose: str = "chat-history",
    notice: str = "",
    language: str = "fr",
    **acts: int,
) -> None:
    for act, count in acts.items():
        await shop.world.execute(
            "INSERT INTO figures VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            shop.controller,
            day(number).date(),
            site,
            purpose,
            notice,
            language,
            act,
            count,
        )


async def figures(caller: Caller, **asked: str) -> dict[str, Any]:
    return await caller.ask("/v1/figures", **{"from": BEGIN, "until": END, **asked})


async def test_rates_of_a_purpose(dpo: Caller, shop: Controller, notice: str) -> None:
    answer = await figures(dpo, purpose="chat-history")
    assert answer["totals"] == {
        "shown": None,
        "granted": 60,  # three in German are too few
        "denied": 27,  # in French every third day shows six, and the last two are held back
        "withdrawn": 6,
        "objected": None,
        "not_objected": None,
        "told": None,
        "rates": {"consent": 0.6897, "refusal": 0.3103, "withdrawal": 0.1},
    }
    assert (answer["from"], answer["until"], answer["smallest"]) == (BEGIN, END, 5)
    assert "rows" not in answer


@pytest.mark.parametrize(
    ("by", "names", "granted"),
    [
        ("site", [{"site": "blog.example"}, {"site": "shop.example"}], [100, 60]),
        ("purpose", [{"purpose": "chat-history"}, {"purpose": "mails"}], [60, 100]),
        ("language", [{"language": "de"}, {"language": "fr"}], [None, 160]),
        ("version", [{"notice_id": None, "version": None}, {"notice_id": "chat", "version": "1"}], [100, 60]),
    ],
)
async def test_rows(dpo: Caller, notice: str, by: str, names: list[dict[str, Any]], granted: list[int | None]) -> None:
    rows = (await figures(dpo, by=by))["rows"]
    assert [{name: row[name] for name in names[0]} for row in rows] == names
    assert [row["granted"] for row in rows] == granted


async def test_rows_of_days_and_notices(dpo: Caller, notice: str) -> None:
    days = (await figures(dpo, by="day", site="shop.example"))["rows"]
    assert [row["day"] for row in days] == [day(number).date().isoformat() for number in range(10)]
    assert [row["granted"] for row in days] == [6] * 10
    assert [row["denied"] for row in days] == [None, None, 6, 9, None, 6, None, None, 6, None]
    rows = (await figures(dpo, by="notice"))["rows"]
    assert [(row["notice"], row["notice_id"], row["version"]) for row in rows] == [
        (None, None, None),
        (notice, "chat", "1"),
    ]


async def test_what_is_held_back_is_shown_later_once(dpo: Caller, notice: str) -> None:
    """The same pieces, whichever days are asked for: windows add up to the whole."""
    whole = (await figures(dpo))["totals"]["denied"]
    first, second = await figures(dpo, until="2026-11-04"), await figures(dpo, **{"from": "2026-11-05"})
    assert first["totals"]["denied"] + second["totals"]["denied"] == whole


async def test_today_grows_in_steps(dpo: Caller, shop: Controller) -> None:
    number = (datetime.now(UTC) - day(0)) / timedelta(days=1)
    await leave(shop, number, granted=14, denied=4)
    answer = await dpo.ask("/v1/figures")
    assert (answer["totals"]["granted"], answer["totals"]["denied"]) == (10, None)


async def test_the_smallest_figure_is_the_controllers(dpo: Caller, shop: Controller, notice: str) -> None:
    await shop.world.execute(
        "INSERT INTO terms (controller, content, stated_by) VALUES ($1, $2, 'test')",
        shop.controller,
        b'{"smallest_figure": 1}',
    )
    totals = (await figures(dpo, purpose="chat-history"))["totals"]
    assert (totals["granted"], totals["denied"]) == (63, 29)


async def test_whose_figures_and_for_whom(
    with_role: Callable[[Controller, str], Any], shop: Controller, world: Any, notice: str
) -> None:
    rival = await world.controller("rival")
    for role in ("privacy", "dpo", "admin"):
        assert (await figures(await with_role(rival, role)))["totals"]["granted"] is None
    for role in ("site",):
        assert (await (await with_role(shop, role)).get("/v1/figures")).status_code == 403
    upside_down = await (await with_role(shop, "admin")).get("/v1/figures", **{"from": END, "until": BEGIN})
    assert (upside_down.status_code, upside_down.json()["pointer"]) == (422, "/until")
