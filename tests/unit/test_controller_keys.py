"""Controller keys leave the memory by themselves, asked for again or not."""

from pathlib import Path

import pytest

from services.keys import ControllerKeys, controller_keys, make_secret
from services.keys.file_provider import FileProvider
from tests.support.wait import until

pytestmark = pytest.mark.unit


async def test_an_idle_process_forgets_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller_keys, "KEY_CACHE_S", 0.05)
    make_secret(tmp_path / "root.key")
    keys = ControllerKeys(tmp_path / "controllers", FileProvider(tmp_path / "root.key"))
    for epoch in range(3):
        keys.create_wrapping_key("shop", epoch)
    assert keys._cache
    await until(lambda: not keys._cache, what="the keys are forgotten")
    assert keys.wrapping_key("shop", 1) == keys.create_wrapping_key("shop", 1)
