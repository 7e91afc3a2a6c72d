"""`sayso fsck` and `sayso rebuild`: the ledger's own checks and repair, with progress on the error output.

Both act as the ledger: they read SAYSO_DATABASE_URL (a login that may SET ROLE sayso_ledger) and its key settings.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from services.cli.admin import ADMIN_URL, SERVICE_URL
from services.ledger.fsck.check import Run, check
from services.ledger.fsck.findings import Report
from services.ledger.rebuild import rebuild
from services.ledger.settings import LedgerSettings

REPORT_FORMAT: Final = "sayso-fsck/v1"


def ledger_settings() -> LedgerSettings:
    """The ledger's settings; without SAYSO_DATABASE_URL, with the operator's login. Raises ConfigurationError."""
    if ADMIN_URL in os.environ:
        os.environ.setdefault(SERVICE_URL, os.environ[ADMIN_URL])
    try:
        return LedgerSettings()
    except ValidationError as error:
        names = sorted({f"SAYSO_{problem['loc'][0]}".upper() for problem in error.errors(include_input=False)})
        raise ConfigurationError(
            f"not set or not valid: {', '.join(names)}; for what `sayso up` runs, type:  . .sayso/sayso.env"
        ) from None


def show(what: str, done: int, total: int) -> None:
    """A line of progress, about one a second."""
    print(f"  {what}: {done} of {total}", file=sys.stderr, flush=True)


def run_fsck(run: Run, file: Path | None) -> bool:
    """Recompute everything, print what does not fit, write the report; whether all is as it must be."""
    report = asyncio.run(check(ledger_settings(), run, progress=show))
    print(describe(report))
    if file is not None:
        document = report.as_json() | {"format": REPORT_FORMAT, "stages": report.stages}
        file.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return report.clean


def describe(report: Report) -> str:
    """The findings, a line each, and the verdict."""
    lines = [f"WRONG  {finding}" for finding in report.findings]
    if report.unlisted:
        lines.append(f"WRONG  and {report.unlisted} more of these kinds")
    looked_at = f"{report.records} records in {report.logs} logs were recomputed from raw rows"
    verdict = (
        "everything fits." if report.clean else "not everything fits: see docs/operations.md, 'fsck finds something'."
    )
    return "\n".join([*lines, f"{looked_at}: {verdict}"])


def run_rebuild() -> int:
    """Project every subject's state anew; how many subjects."""
    return asyncio.run(rebuild(ledger_settings(), progress=show))
