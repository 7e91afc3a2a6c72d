"""The catalogue says what the notices rest on, and a file that breaks the model is refused with its place."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas import catalogue
from schemas.catalogue import DIRECTORY, catalogue_services, doubts, load_service, services, usual_purposes
from schemas.errors import ConfigurationError
from schemas.notices import NoticeContent
from services.cli.demo.cast import FOLDER, load_cast
from services.cli.notices import read_notice

pytestmark = pytest.mark.unit


def broken(change: dict[str, Any], folder: Path, name: str = "chatra.yaml") -> Path:
    """A copy of the Chatra file with members changed."""
    value = yaml.safe_load((DIRECTORY / "chatra.yaml").read_text())
    path = folder / name
    path.write_text(yaml.safe_dump({**value, **change}))
    return path


def test_the_services_of_the_demo_are_there() -> None:
    assert {"chatra", "chaport"} < catalogue_services()
    (transfer,) = services()["chatra"].transfers or []
    assert transfer.mechanisms == ["scc", "dpf"]
    assert services()["chaport"].transfers == []
    operator = services()["chaport"].operator
    assert operator is not None
    assert operator.country == "CY"


def test_cookies_say_how_long_and_what_for() -> None:
    cookies = {cookie.name: cookie for cookie in services()["chatra"].cookies or []}
    assert cookies["Chatra_session"].duration == "session"
    assert cookies["Chatra_marked"].type == "marketing"
    assert cookies["Chatra_marked"].use == "chat-proactive"
    assert cookies["Chatra"].duration == "P1Y"


def test_usual_purposes_know_their_ground_and_how_long() -> None:
    assert usual_purposes()["security-logs"].kept_days_after == 90
    assert usual_purposes()["marketing"].legal_basis == ["consent"]
    assert catalogue.load_purposes(catalogue.PURPOSES_DIRECTORY / "saas.yaml").age_minimum == 16


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"surprise": 1}, "/surprise"),
        ({"risk": "none"}, "/risk"),
        ({"domains": ["https://chatra.io"]}, "/domains/0"),
        (
            {"cookies": [{"name": "a", "type": "functional", "use": "x", "purpose": {"en": "x"}}]},
            "a use that `uses` does",
        ),
        ({"cookies": [{"name": "a", "pattern": "^a$", "type": "functional", "purpose": {"en": "x"}}]}, "/cookies/0"),
        ({"cookies": [{"pattern": "^(a+)+$", "type": "functional", "purpose": {"en": "x"}}]}, "/cookies/0/pattern"),
        ({"withdrawal": {}}, "withdrawal must name exactly"),
        ({"kind": {"nl": "Chat"}}, "/kind"),
        ({"kind": {}}, "/kind"),
        ({"service": "other"}, "must be named after its service"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(change: dict[str, Any], place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=place):
        load_service(broken(change, tmp_path))


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chatra.yaml"
    path.write_text("service: [")
    with pytest.raises(ConfigurationError, match="cannot be read as YAML at line 1, column"):
        load_service(path)


def test_no_notice_of_the_demo_is_in_doubt() -> None:
    names = [notice for site in load_cast().sites for notice in site.notices]
    languages = set()
    for name in names:
        content = NoticeContent.model_validate_json(read_notice(FOLDER / "notices" / f"{name}.yaml"))
        assert doubts(content) == []
        languages.add((content.notice_id, content.language))
    assert languages == {
        (n, language) for n in ("shop-chat", "shop-letter", "studio-choices") for language in ("fr", "de", "es", "en")
    }


@pytest.mark.parametrize(
    ("member", "value", "doubt"),
    [
        ("legal_basis", "legitimate_interest", "rests on legitimate_interest; for Chatra the catalogue gives consent"),
        ("services", ["unheard-of"], "the service unheard-of is not in the catalogue"),
        ("purpose", "resale", "does not know this use of Chatra"),
        ("purpose", "security-logs", "rests on consent; for this purpose the catalogue gives legitimate_interest"),
    ],
)
def test_a_doubtful_notice_is_named(member: str, value: object, doubt: str) -> None:
    content = yaml.safe_load((FOLDER / "notices" / "shop-en.yaml").read_text())
    content["purposes"] = [{**content["purposes"][1], member: value}]
    assert doubt in " ".join(doubts(NoticeContent.model_validate(content)))
