"""deploy/env.example as the settings classes say it: every variable, its meaning, its default, which process reads it.

`python -m tests.tidy.env_example` writes the file; a test compares it, so that it cannot fall behind.
"""

import textwrap
from enum import Enum

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from tests.tidy.repository import ROOT

ENV_EXAMPLE = ROOT / "deploy" / "env.example"
WIDTH = 110
# What the command line reads without a settings class.
OPERATOR_VARIABLES = {
    "SAYSO_ADMIN_DATABASE_URL": "Postgres, as a login that may SET ROLE sayso_owner; for the operator's commands. "
    "Where it is not set, they use SAYSO_DATABASE_URL.",
    "SAYSO_PG_BIN": "Folder with the postgres and initdb that `sayso up` runs (15 or newer), in place of the wheel's.",
    "SAYSO_SHOP_PORT": "Port on 127.0.0.1 of the shop of `sayso up --demo`; the first free one from 8083 if not set.",
}
# `sayso up` writes these for the commands it prints; nothing of ours reads them.
WRITTEN_FOR_THE_SHELL = ("SAYSO_DEMO_", "SAYSO_INGEST_URL", "SAYSO_QUERY_URL")
OPENING = """\
# Every setting of Sayso, made from the settings classes by `python -m tests.tidy.env_example`: do not edit by hand.
# A line that is commented out shows the default; a line that is not must be filled in. Secrets have no default.
"""


def settings_classes() -> dict[str, type[BaseSettings]]:
    """The settings class of each service, by its name."""
    from services.ingest.settings import IngestSettings
    from services.ledger.settings import LedgerSettings
    from services.query.settings import QuerySettings

    return {"ingest": IngestSettings, "ledger": LedgerSettings, "query": QuerySettings}


def variable(settings: type[BaseSettings], field: str) -> str:
    """The environment variable that sets the field."""
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()


def _value(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return ""
    if isinstance(default, SecretStr):
        raise TypeError("a secret must not have a default")
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, list | tuple | set | frozenset):
        return ",".join(str(item) for item in default)
    return str(default)


def _meaning(settings: type[BaseSettings], field: str) -> str:
    info = settings.model_fields[field]
    if not info.description:
        raise ValueError(f"{settings.__name__}.{field} has no description: say its unit, default and danger")
    return info.description


def _assignment(settings: type[BaseSettings], field: str) -> str:
    info = settings.model_fields[field]
    assignment = f"{variable(settings, field)}={_value(info)}"
    return assignment if info.is_required() else f"#{assignment}"


def render(classes: dict[str, type[BaseSettings]]) -> str:
    """The whole file, what most processes read first. Raises ValueError when two give one variable two defaults."""
    assignments: dict[str, str] = {}
    # variable -> what it means -> the services to which it means that
    meanings: dict[str, dict[str, list[str]]] = {}
    for service, settings in classes.items():
        for field in settings.model_fields:
            name = variable(settings, field)
            assignment = _assignment(settings, field)
            if assignments.setdefault(name, assignment) != assignment:
                raise ValueError(f"{service} gives {name} a default that another service does not")
            meanings.setdefault(name, {}).setdefault(_meaning(settings, field), []).append(service)
    blocks = []
    for name, readers in meanings.items():
        lines = [
            f"# {line}"
            for meaning, services in readers.items()
            for line in textwrap.wrap(f"[{', '.join(services)}] {meaning}", WIDTH)
        ]
        blocks.append((-sum(map(len, readers.values())), "\n".join([*lines, assignments[name]])))
    blocks.sort(key=lambda block: block[0])
    blocks += [
        (0, "\n".join([*(f"# {line}" for line in textwrap.wrap(f"[command line] {meaning}", WIDTH)), f"#{name}="]))
        for name, meaning in OPERATOR_VARIABLES.items()
    ]
    return OPENING + "".join(f"\n{text}\n" for _, text in blocks)


if __name__ == "__main__":
    ENV_EXAMPLE.write_text(render(settings_classes()), encoding="utf-8")
