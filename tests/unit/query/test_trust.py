"""The files that query hands on in bundles: read once, at the start, or not started at all."""

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from services.query.bundles.trust import Trust
from tests.support.bundles import FOLDER

pytestmark = pytest.mark.unit


def test_both_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "authorities.yaml").write_text(f"- name: golden\n  url: http://x\n  roots: {FOLDER / 'roots.pem'}\n")
    trust = Trust.read(FOLDER / "policy.txt", tmp_path / "authorities.yaml")
    assert trust.policy is not None
    assert trust.policy_text == (FOLDER / "policy.txt").read_bytes()
    assert trust.roots["golden"].pem == (FOLDER / "roots.pem").read_bytes()
    assert Trust.read(None, None) == Trust()


@pytest.mark.parametrize(
    "text", ["", "x", "- name: a\n", "- name: a\n  roots: missing.pem\n", "- [", "- name: a\n  roots: y\n"]
)
def test_an_authorities_file_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "authorities.yaml").write_text(text)
    (tmp_path / "y").write_text("no certificate")
    with pytest.raises(ConfigurationError):
        Trust.read(None, tmp_path / "authorities.yaml")


def test_a_policy_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "policy.txt").write_text("quorum nobody\n")
    for path in (tmp_path / "policy.txt", tmp_path / "missing.txt"):
        with pytest.raises(ConfigurationError):
            Trust.read(path, None)
