"""Where webhooks may go: nowhere inside the operator's network unless the operator says so, by whatever name."""

from pathlib import Path

import pytest

from services.ledger.downstream.resolving import is_outside
from services.ledger.downstream.webhooks import Ended, Webhooks
from tests.support.log_files import served

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where clouds tell a machine its credentials
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("::", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("2002:a00:1::", False),  # 10.0.0.1 by 6to4
    ],
)
def test_what_is_outside(address: str, *, outside: bool) -> None:
    assert is_outside(address) == outside


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_webhook_does_not_reach_inside_unless_it_may(host: str, tmp_path: Path) -> None:
    with served(tmp_path) as address:
        url = address.replace("127.0.0.1", host)
        kept_out, let_in = Webhooks(inside=False), Webhooks(inside=True)
        try:
            assert (await kept_out.post(url, [b"s" * 24], "m", 0, b"{}")).ended == Ended.AWAY
            assert (await let_in.post(url, [b"s" * 24], "m", 0, b"{}")).ended == Ended.TURNED_AWAY
        finally:
            await kept_out.stop()
            await let_in.stop()
