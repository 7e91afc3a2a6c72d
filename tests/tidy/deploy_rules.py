"""House rules over deploy/compose.yaml and deploy/Dockerfile, as functions over their text; no engine is needed.

Hardening, secrets by reference, versions equal to those we test with, and settings that really exist.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import yaml

# Services that run once and end, or that are only started by hand.
ONE_SHOTS = {"cli", "migrate", "topics"}
HARDENING: dict[str, object] = {
    "init": True,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
NON_ROOT_UID_MIN = 1000
_VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")
_SECRET_WORD = re.compile(r"PASSWORD|SECRET|TOKEN|DATABASE_URL")


def compose_services(text: str) -> dict[str, dict[str, Any]]:
    """The services of a compose file, anchors and merges resolved."""
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return services


def hardening(text: str) -> list[str]:
    """Every container: an init, a read-only root, no capabilities, no `version:` key."""
    found = ["has a version key, which Compose ignores"] if "version" in yaml.safe_load(text) else []
    for name, service in compose_services(text).items():
        found += [f"{name}: {key} must be {wanted}" for key, wanted in HARDENING.items() if service.get(key) != wanted]
        if service.get("privileged") or service.get("network_mode") == "host":
            found.append(f"{name}: has the host's rights")
    return found


def health(text: str, stages_with_healthcheck: Collection[str]) -> list[str]:
    """What stays up can be asked whether it is ready, and whoever needs another waits for that."""
    found = []
    services = compose_services(text)
    for name, service in services.items():
        stage = service.get("build", {}).get("target")
        if name in ONE_SHOTS:
            if service.get("restart") != "no":
                found.append(f"{name}: runs once, restart must be 'no'")
        elif "healthcheck" not in service and stage not in stages_with_healthcheck:
            found.append(f"{name}: has no healthcheck")
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
            if how.get("condition") != wanted:
                found.append(f"{name}: must wait for {other} with {wanted}")
    return found


def secrets_by_reference(text: str) -> list[str]:
    """No secret in an environment variable, no default for what must be chosen, every secret a file."""
    found = [
        f"${{{match['name']}}} needs a message, ${{{match['name']}:?say what to do}}, and no default"
        for match in _VARIABLE.finditer(re.sub(r"(?m)^\s*#.*$", "", text))
        if not match["rest"].startswith(":?")
    ]
    document = yaml.safe_load(text)
    declared = document.get("secrets", {})
    used = set()
    for name, service in compose_services(text).items():
        found += [
            f"{name}: {variable} would show in `docker inspect`: give a file"
            for variable in service.get("environment", {})
            if _SECRET_WORD.search(variable) and not variable.endswith(("_FILE", "_DIR"))
        ]
        for secret in service.get("secrets", []):
            source = secret["source"] if isinstance(secret, dict) else secret
            used.add(source)
            if source not in declared:
                found.append(f"{name}: secret {source} is not declared")
    found += [f"secret {name} is never used" for name in sorted(set(declared) - used)]
    found += [f"secret {name} is not a file" for name, secret in declared.items() if set(secret) != {"file"}]
    return found


def settings_exist(text: str, variables: Mapping[str, tuple[Collection[str], Collection[str]]]) -> list[str]:
    """SAYSO_* variables are those of the service's settings class; `variables` is service -> (all, required)."""
    found = []
    for name, service in compose_services(text).items():
        command = " ".join(str(service.get("command", "")).split())
        given = set(service.get("environment", {})) | set(re.findall(r"\b(SAYSO_\w+)=", command))
        ours = {variable for variable in given if variable.startswith("SAYSO_")}
        if name in variables:
            known, required = variables[name]
            found += [f"{name}: {variable} is no setting" for variable in sorted(ours - set(known))]
            found += [f"{name}: {variable} is required and missing" for variable in sorted(set(required) - ours)]
    return found


def images(text: str, versions: Mapping[str, str]) -> list[str]:
    """Third-party images carry the version that we test with; ours are built from a target of the Dockerfile."""
    found = []
    for name, service in compose_services(text).items():
        image, _, tag = service.get("image", "").partition(":")
        if image and versions.get(image) != tag:
            found.append(f"{name}: {image}:{tag}, but we test with {versions.get(image)}")
        if not image and "build" not in service:
            found.append(f"{name}: neither an image nor a build")
    return found


def stages(text: str) -> dict[str, str]:
    """The Dockerfile's stages: name -> its lines, those of the stage it starts from first."""
    found: dict[str, str] = {}
    for block in re.split(r"(?m)^(?=FROM )", text)[1:]:
        opening, _, rest = block.partition("\n")
        match = re.fullmatch(r"FROM (\S+) AS (\S+)", opening.strip())
        if match is None:
            raise ValueError(f"a stage without a name: {opening}")
        found[match[2]] = found.get(match[1], "") + rest
    return found


def dockerfile(text: str, targets: Collection[str], extras: Collection[str], uv_version: str) -> list[str]:
    """Each target is there, is not root, says whether it is healthy, and installs one extra of ours from the lock."""
    found = []
    built = stages(text)
    for target in targets:
        lines = built.get(target, "")
        user = re.findall(r"(?m)^USER (\d+):\d+$", lines)
        if not lines:
            found.append(f"has no target {target}")
        elif not user or int(user[-1]) < NON_ROOT_UID_MIN:
            found.append(f"{target}: runs as root")
        elif "HEALTHCHECK" not in lines:
            found.append(f"{target}: has no HEALTHCHECK (or HEALTHCHECK NONE)")
    used = re.findall(r"--extra (\S+)", text)
    found += [f"--extra {extra} is not in pyproject.toml" for extra in used if extra not in extras]
    for command in re.findall(r"uv sync [^\n]*", text):
        if "--locked" not in command:
            found.append(f"`{command}` does not insist on the lock")
    if f"uv=={uv_version}" not in text:
        found.append(f"does not use uv {uv_version}, the Makefile's")
    return found
