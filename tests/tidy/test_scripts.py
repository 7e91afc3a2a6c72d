"""Shell scripts stop at the first error and can be run; every command of the Makefile explains itself."""

import os
import re
import subprocess

import pytest

from tests.tidy.repository import ROOT, all_files, violations

pytestmark = pytest.mark.tidy

FILES = dict(all_files())
SCRIPTS = [(path, text) for path, text in all_files() if re.match(r"#!.*\b(?:ba)?sh\b", text)]


def strict_shell(path: str, text: str) -> list[str]:
    """A script parses, says what it is for, and stops at the first error."""
    found = []
    lines = text.splitlines()
    if len(lines) < 2 or not lines[1].startswith("# "):
        found.append("the line below the #! must say what the script is for")
    # The entry points of images run under whatever shell the image has.
    strict = r"^set -euo pipefail$" if "bash" in lines[0] else r"^set -eu$"
    if not re.search(strict, text, re.MULTILINE):
        found.append("must `set -euo pipefail` (in sh: `set -eu`)")
    parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=20, check=False)
    if parsed.returncode != 0:
        found.append(parsed.stderr.strip())
    return found


def silent_targets(makefile: str) -> set[str]:
    """Public targets (those of the first .PHONY line) without a `##` explanation."""
    phony = re.search(r"(?m)^\.PHONY: (.+)$", makefile)
    assert phony is not None
    return set(phony[1].split()) - set(re.findall(r"(?m)^([a-z-]+):.*## \S", makefile))


def test_scripts_are_strict() -> None:
    broken = violations(strict_shell, SCRIPTS)
    assert not broken, "\n" + "\n".join(broken)


def test_scripts_can_be_run() -> None:
    assert [path for path, _ in SCRIPTS if not os.access(ROOT / path, os.X_OK)] == []


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/bash\nset -euo pipefail\n",
        "#!/bin/bash\n# Why.\nset -e\n",
        "#!/bin/bash\n# Why.\nset -euo pipefail\nif\n",
    ],
    ids=["mute", "lax", "broken"],
)
def test_a_bad_script_is_found(text: str) -> None:
    assert strict_shell("deploy/x.sh", text)


def test_every_command_explains_itself() -> None:
    assert silent_targets(FILES["Makefile"]) == set()
    assert silent_targets(".PHONY: run\n\nrun:\n\techo\n") == {"run"}


def test_the_makefiles_uv_is_the_one_that_the_sync_keeps() -> None:
    """An exact sync removes what is not in the lock, and with another version it would be changed at every call."""
    stated = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert stated is not None
    assert f'"uv=={stated[1]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
