"""deploy/env.example is exactly what the settings classes say, and the comparison can fail."""

import re

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tests.tidy.env_example import ENV_EXAMPLE, WRITTEN_FOR_THE_SHELL, render, settings_classes
from tests.tidy.repository import select

pytestmark = pytest.mark.tidy


class One(BaseSettings):
    """A small settings class."""

    model_config = SettingsConfigDict(env_prefix="SAYSO_")

    database_url: str = Field(description="Where Postgres is.")
    limit_s: int = Field(default=2, description="Seconds to wait.")


def test_env_example_is_what_the_settings_say() -> None:
    expected = render(settings_classes())
    assert ENV_EXAMPLE.read_text(encoding="utf-8") == expected, "run: python -m tests.tidy.env_example"


def test_every_variable_has_the_prefix() -> None:
    prefixes = {settings.model_config.get("env_prefix") for settings in settings_classes().values()}
    assert prefixes == {"SAYSO_"}


def variables_read(files: list[tuple[str, str]]) -> set[str]:
    """Every variable that the code names, but for those it only writes for a person's shell."""
    named = {name for _, text in files for name in re.findall(r"\bSAYSO_[A-Z][A-Z_]+\b", text)}
    return {name for name in named if not name.startswith(WRITTEN_FOR_THE_SHELL)}


def test_every_variable_the_code_names_is_explained() -> None:
    explained = set(re.findall(r"(?m)^#?(SAYSO_\w+)=", render(settings_classes())))
    assert variables_read(select(".py", "schemas", "services")) - explained == set()
    assert variables_read([("services/x.py", 'os.environ["SAYSO_SECRET_SWITCH"]')]) - explained


def test_required_default_and_readers_are_shown() -> None:
    text = render({"ingest": One, "query": One})
    assert "# [ingest, query] Where Postgres is.\nSAYSO_DATABASE_URL=\n" in text
    assert "# [ingest, query] Seconds to wait.\n#SAYSO_LIMIT_S=2\n" in text


def test_two_meanings_are_both_shown() -> None:
    class Two(One):
        limit_s: int = Field(default=2, description="Seconds to hold.")

    text = render({"ingest": One, "query": Two})
    assert "# [ingest] Seconds to wait.\n# [query] Seconds to hold.\n#SAYSO_LIMIT_S=2\n" in text


def test_two_defaults_of_one_variable_are_refused() -> None:
    class Two(One):
        limit_s: int = Field(default=3, description="Seconds to wait.")

    with pytest.raises(ValueError, match="query gives SAYSO_LIMIT_S a default that another service does not"):
        render({"ingest": One, "query": Two})


def test_a_field_without_description_is_refused() -> None:
    class Mute(One):
        port: int = 8080

    with pytest.raises(ValueError, match=r"Mute\.port has no description"):
        render({"ingest": Mute})


def test_a_secret_with_a_default_is_refused() -> None:
    class Leaky(One):
        token: SecretStr = Field(default=SecretStr("x"), description="A key.")

    with pytest.raises(TypeError, match="must not have a default"):
        render({"ingest": Leaky})
