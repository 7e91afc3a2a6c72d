"""The commands that the demo prints to paste: post, withdraw, fetch the proof, verify it. A test pastes them in bash.

They need a shell and this project's Python; without curl, `python -m services.cli.demo.fetch` stands in for it.
"""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from services.cli.demo import fetch
from services.cli.demo.cast import FOLDER
from services.cli.demo.stage import JOURNAL, Stage

CURL: Final = "curl -sS --fail-with-body"


def commands_to_paste(site: str, stage: Stage) -> str:
    """The text of paste.txt, with paths as short as they can be from the working directory."""
    python = _short(Path(sys.executable))
    text = (FOLDER / "paste.txt").read_text(encoding="utf-8")
    for name, value in {
        "env": _short(stage.env_file),
        "folder": _short(stage.env_file.parent / JOURNAL),
        "curl": CURL if shutil.which("curl") else f"{python} -m {fetch.__name__}",
        "python": python,
        "sayso": _short(Path(sys.executable).with_name("sayso")),
        "site": site,
    }.items():
        text = text.replace(f"@{name}@", value)
    return text


def _short(path: Path) -> str:
    """Relative to the working directory if it lies there, quoted for a shell."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here)) if path.is_relative_to(here) else str(path))
