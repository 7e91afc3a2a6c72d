"""Cursors, media types, roles of routes, and the refusal to start without settings."""

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import APIRouter, Depends
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from schemas.errors import ConfigurationError, InvalidParameter
from services.keys import make_secret
from services.query.app import create_app
from services.query.auth import PUBLIC, READS_STATE, name_roles
from services.query.parameters import decode_cursor, encode_cursor, preferred
from services.query.settings import QuerySettings

pytestmark = pytest.mark.unit

JSON, PROOF, TEXT = OFFERED = ("application/json", "application/vnd.c2sp.tlog-proof", "text/plain")


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1))
def test_a_cursor_reads_back(log: int, index: int) -> None:
    assert decode_cursor(encode_cursor((log, index))) == (log, index)


@given(st.text(max_size=64))
def test_no_text_is_a_cursor_but_its_own(text: str) -> None:
    try:
        place = decode_cursor(text)
    except InvalidParameter:
        return
    assert encode_cursor(place) == text


@pytest.mark.parametrize("changed", ["{}=", "{}A", "A{}", " {}", "!{}", "{}\n", "", "AAAA"])
def test_a_cursor_that_is_not_as_it_was_given_is_refused(changed: str) -> None:
    with pytest.raises(InvalidParameter):
        decode_cursor(changed.format(encode_cursor((1, 3))))


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("text/plain", TEXT),
        ("Text/Plain; charset=utf-8", TEXT),
        ("application/*", JSON),
        ("application/vnd.c2sp.tlog-proof, */*;q=0.1", PROOF),
        ("application/json;q=0.2, text/plain;q=0.9", TEXT),
        ("*/*, application/json;q=0", PROOF),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        ("text/plain;q=0", None),
        ("text/plain;q=much", None),
        ("image/png", None),
        ("", None),
        (",;q=1,", None),
    ],
)
def test_the_media_type_that_is_wanted_most(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, OFFERED) == chosen


def test_a_route_must_name_its_roles_once() -> None:
    async def nothing() -> None: ...

    for dependencies in ([], [Depends(PUBLIC), Depends(READS_STATE)]):
        router = APIRouter()
        router.get("/open", dependencies=dependencies)(nothing)
        with pytest.raises(TypeError, match="/open must name who may use it"):
            name_roles(router)


def test_it_refuses_to_start_without_settings() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.query"], capture_output=True, text=True, check=False, timeout=60, env={}
    )
    assert done.returncode == 78
    assert "SAYSO_DATABASE_URL" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_it_refuses_a_key_file_that_others_can_read(tmp_path: Path) -> None:
    make_secret(tmp_path / "root.key")
    make_secret(tmp_path / "events.key")
    make_secret(tmp_path / "epochs.key")
    make_secret(tmp_path / "receipts.key")
    make_secret(tmp_path / "links.key")
    make_secret(tmp_path / "capabilities.key")
    settings = QuerySettings(
        database_url=SecretStr("postgresql://nowhere"),
        root_key_file=tmp_path / "root.key",
        event_id_key_file=tmp_path / "events.key",
        suppression_dir=tmp_path / "suppression",
        query_epoch_key_file=tmp_path / "epochs.key",
        receipt_key_file=tmp_path / "receipts.key",
        link_key_file=tmp_path / "links.key",
        capability_key_file=tmp_path / "capabilities.key",
        controller_key_dir=tmp_path,
    )
    create_app(settings)
    (tmp_path / "root.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        create_app(settings)
