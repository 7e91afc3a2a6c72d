"""`sayso import`: options, progress and what it says at the end."""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import typer
import yaml

from schemas.errors import ConfigurationError
from services.cli.importing.mapping import Mapping, presets, read_mapping
from services.cli.importing.run import Import, dry_run, run

_SAY_EVERY_S: Final = 2.0


def run_import(asked: Import, *, dry: bool) -> int:
    """The exit code: 0 if every line was recorded (or would be), 1 if some are in the report."""
    last = 0.0

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _SAY_EVERY_S:
            last = time.monotonic()
            typer.echo(text, err=True)

    counts: Counter[str] = dry_run(asked, say) if dry else asyncio.run(run(asked, say)).counts
    for reason, number in sorted(counts.items()):
        print(f"{number:>10}  {reason}")
    refused = counts.total() - counts["recorded"] - counts["would-be-sent"]
    if refused:
        print(f"{refused} lines are in {asked.report}, each with its number and its reason.")
    return 1 if refused else 0


def meaning_of(preset: str | None, mapping: Path | None) -> Mapping:
    """A preset, a mapping file, or a preset whose members the file replaces. Raises ConfigurationError."""
    if preset is not None and preset not in presets():
        raise ConfigurationError(f"there is no preset {preset}: there are {', '.join(presets())}")
    found: dict[str, Any] = {}
    for path in (None if preset is None else presets()[preset], mapping):
        if path is None:
            continue
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})") from None
        if not isinstance(value, dict):
            raise ConfigurationError(f"{path} is not a mapping: see docs/import.md")
        found |= value
    if not found:
        raise ConfigurationError("give --preset, --mapping or both: see docs/import.md")
    return read_mapping(found)


def read_key(path: Path) -> str:
    """The site's server key from a file, or from standard input with `-`. Raises ConfigurationError."""
    try:
        key = (sys.stdin.readline() if str(path) == "-" else path.read_text(encoding="ascii")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})") from None
    if not key.startswith("sk_"):
        raise ConfigurationError("the key file must hold a server key (sk_...) of the site: sayso key create --kind sk")
    return key
