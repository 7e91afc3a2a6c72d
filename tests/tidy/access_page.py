"""The table of docs/access.md as the app says it: which role opens which route of query.

`python -m tests.tidy.access_page` writes the table; a test compares it, so that no route opens unseen.
"""

import tempfile
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr

from services.ingest.app import IngestApp
from services.ingest.settings import IngestSettings
from services.keys import make_secret
from services.query.app import create_app
from services.query.auth import Role
from services.query.settings import QuerySettings
from tests.tidy.repository import ROOT

PAGE = ROOT / "docs" / "access.md"
BEGIN, END = "<!-- who opens what: made by python -m tests.tidy.access_page -->\n", "<!-- until here -->\n"
# The columns; no key or session is the last three: a person's own capability, a downstream system's signature, nothing.
COLUMNS = (*get_args(Role), "subject", "system", "anybody")
# Routes for the machines that watch a process; they hold nothing of anybody.
OPERATIONS = {"GET /health/live", "GET /health/ready", "GET /metrics"}


def _routes(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """METHOD path -> what the API description says of it, in the order of the paths."""
    paths: dict[str, dict[str, Any]] = description["paths"]
    found = {f"{method.upper()} {path}": said for path in sorted(paths) for method, said in sorted(paths[path].items())}
    return {route: said for route, said in found.items() if route not in OPERATIONS}


def query_routes() -> dict[str, list[str]]:
    """Every route of query with the columns that open it."""
    with tempfile.TemporaryDirectory() as name:
        app = create_app(_query_settings(Path(name)))
    return {route: said["x-roles"] or ["anybody"] for route, said in _routes(app.openapi()).items()}


def ingest_routes() -> set[str]:
    """Every route of ingest that is described."""
    with tempfile.TemporaryDirectory() as name:
        app = IngestApp(_ingest_settings(Path(name)))
    return set(_routes(app._api.openapi()))


def _query_settings(folder: Path) -> QuerySettings:
    files = ("root", "event_id", "capability", "link", "receipt", "query_epoch")
    values: dict[str, Any] = {f"{name}_key_file": _made(folder / name) for name in files}
    values |= {"suppression_dir": folder, "controller_key_dir": folder}
    return QuerySettings(database_url=SecretStr("postgresql://nowhere"), **values)


def _ingest_settings(folder: Path) -> IngestSettings:
    files = ("event_id", "capability", "epoch", "notice")
    values: dict[str, Any] = {f"{name}_key_file": _made(folder / name) for name in files}
    return IngestSettings(database_url=SecretStr("postgresql://nowhere"), suppression_dir=folder, **values)


def _made(path: Path) -> Path:
    make_secret(path)
    return path


def table(routes: dict[str, list[str]]) -> str:
    """Markdown, a row a route."""
    lines = [f"| route | {' | '.join(COLUMNS)} |", "|---|" + "---|" * len(COLUMNS)]
    for route, opens in routes.items():
        cells = " | ".join("yes" if column in opens else "-" for column in COLUMNS)
        lines.append(f"| `{route}` | {cells} |")
    return "\n".join(lines) + "\n"


def rendered(page: str, routes: dict[str, list[str]]) -> str:
    """The page with the table of these routes. Raises ValueError if it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("docs/access.md has lost the marks around its table")
    return f"{before}{begin}\n{table(routes)}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), query_routes()), encoding="utf-8")
