"""`sayso catalogue`: third-party services, what a controller states of them, its steps, and texts for its policy."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import typer

from schemas.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from schemas.catalogue import Service
    from schemas.notices import NoticeContent
    from services.query.catalogue.store import CatalogueStore

app = typer.Typer(no_args_is_help=True, help="The catalogue of third-party services, and a controller's own.")

EXIT_CHECK_FAILED: Final = 1
T = TypeVar("T")


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Service files, YAML or JSON; ours if none is given.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Hold the notices of this site against the catalogue too.")] = None,
) -> None:
    """Check service files against the model, and a site's notices against the catalogue; exit 0 if nothing is amiss."""
    faults = [fault for path in files or [] if (fault := _fault_of(path)) is not None]
    if not files:
        from schemas.catalogue import services

        # Raises ConfigurationError with the place of the fault.
        print(f"{len(services())} services in the catalogue are valid.")
    faults += [] if site is None else asyncio.run(_doubts_of(site))
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(EXIT_CHECK_FAILED)
    print("Nothing is amiss.")


@app.command("list")
def list_services(
    controller: Annotated[str | None, typer.Option(help="As it holds for this controller.")] = None,
    category: Annotated[str | None, typer.Option(help="Only services of this category.")] = None,
) -> None:
    """List the services, with the category, the operator's country and who states them."""
    from schemas.catalogue import services
    from services.cli import output
    from services.query.catalogue.store import merged

    stated = {} if controller is None else asyncio.run(_with_store(controller, lambda store: store.stated()))
    rows = [
        (
            name,
            service.name,
            service.category,
            None if service.operator is None else service.operator.country,
            "catalogue" if name not in stated else "override" if name in services() else "controller",
        )
        for name, service in sorted(merged(stated).items())
        if category is None or service.category == category
    ]
    print(output.table(("service", "name", "category", "country", "stated by"), rows))


@app.command()
def put(
    file: Annotated[Path, typer.Argument(help="A whole service, or the members that replace ours; YAML or JSON.")],
    controller: Annotated[str, typer.Option(help="Who states it.")],
    service: Annotated[str | None, typer.Option(help="The service; the file's name if left out.")] = None,
) -> None:
    """State a controller's own service, or override members of one of ours."""
    name = service or file.stem
    content = _own_content(file, name)
    news = asyncio.run(_with_store(controller, lambda store: store.state(name, content)))
    print(f"Stated: {name}." if news else f"Nothing to do: that holds for {name} already.")


@app.command()
def step(
    service: Annotated[str, typer.Argument(help="The service.")],
    name: Annotated[str, typer.Argument(help="The step, as `sayso catalogue steps` lists it.")],
    controller: Annotated[str, typer.Option(help="Whose step it is.")],
    done_on: Annotated[str | None, typer.Option(help="The day it was done, YYYY-MM-DD; today if left out.")] = None,
    note: Annotated[str | None, typer.Option(help="Where the paper lies, for example. Names no visitor.")] = None,
) -> None:
    """Date a compliance step; it is due again a year later."""
    try:
        day = date.today() if done_on is None else date.fromisoformat(done_on)  # noqa: DTZ011 - the operator's own day
    except ValueError:
        raise ConfigurationError("a day is written YYYY-MM-DD") from None
    try:
        news = asyncio.run(_with_store(controller, lambda store: store.record_step(service, name, day, note)))
    except Problem:
        raise ConfigurationError(
            f"no such step, or the day is yet to come: see `sayso catalogue steps --controller {controller}`"
        ) from None
    print(f"{service}: {name} done on {day}." if news else "Nothing to do: that day is known already.")


@app.command()
def steps(controller: Annotated[str, typer.Option(help="Whose steps.")]) -> None:
    """List the compliance steps of the services a controller uses: missing, done, or due again."""
    from services.cli import output

    found = asyncio.run(_with_store(controller, lambda store: store.standings()))
    rows = [(one.service, one.step.step, one.state, one.done_on, one.due_on, one.note) for one in found]
    print(output.table(("service", "step", "state", "done on", "due on", "note"), rows))


@app.command()
def policy(
    site: Annotated[str, typer.Option(help="The site.")],
    language: Annotated[str, typer.Option(help="en, fr, de or es.")] = "en",
    form: Annotated[Literal["html", "md", "json"], typer.Option("--format", help="html, md or json.")] = "html",
) -> None:
    """Print the cookie table and the paragraphs of a privacy policy for a site."""
    from schemas.events import parse_time

    try:
        from schemas.policy_texts import policy_texts, written
    except ModuleNotFoundError:
        raise ConfigurationError("policies need the extra 'query': pip install 'sayso[query]'") from None

    notices, catalogue = asyncio.run(_site(site))
    now = datetime.now(UTC)
    in_force = [one for one in notices if one.effective_at is None or parse_time(one.effective_at) <= now]
    sys.stdout.buffer.write(written(policy_texts(in_force, catalogue, language), form))


def _fault_of(path: Path) -> str | None:
    """What is wrong with a service file and where, None if nothing is."""
    from pydantic import ValidationError

    from schemas.catalogue.merging import merged
    from schemas.catalogue.reading import fault_of, read_yaml

    try:
        value = read_yaml(path)
        if not isinstance(value, dict):
            return f"{path}: it must hold the members of one service"
        merged(path.stem, value)
    except ConfigurationError as error:
        return f"{path}: {error}"
    except ValidationError as error:
        place, wrong = fault_of(error)
        return f"{path}: not valid at {place}: {wrong}"
    return None


def _own_content(path: Path, name: str) -> bytes:
    """Raises ConfigurationError with the place of the fault."""
    from pydantic import ValidationError

    from schemas.catalogue.merging import own_bytes
    from schemas.catalogue.reading import fault_of, read_yaml

    value = read_yaml(path)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path} must hold the members of one service")
    try:
        return own_bytes(name, value)
    except ValidationError as error:
        place, wrong = fault_of(error)
        raise ConfigurationError(f"{path} does not state the service {name}: not valid at {place}: {wrong}") from None
    except Problem as error:
        raise ConfigurationError(f"{path} does not state the service {name}: {error.title}") from None


async def _doubts_of(site: str) -> list[str]:
    from schemas.catalogue import doubts

    notices, catalogue = await _site(site)
    return [
        f"{notice.notice_id} {notice.version} ({notice.language}): {doubt}"
        for notice in notices
        for doubt in doubts(notice, catalogue)
    ]


async def _site(site: str) -> "tuple[list[NoticeContent], dict[str, Service]]":
    """The notices of a site, the latest first, and the catalogue as its controller states it."""
    from schemas.notices import NoticeContent
    from services.cli import admin
    from services.postgres import named_queries
    from services.query.catalogue.store import CatalogueStore, merged

    statements = named_queries(Path(__file__).parent / "sql" / "catalogue.sql")
    async with admin.connect() as connection:
        rows: Sequence[Any] = await connection.fetch(statements["notices_of_site"], site)
        if not rows:
            raise ConfigurationError(f"there is no site {site}: see `sayso site list`")
        stated = await CatalogueStore(connection, rows[0]["controller"]).stated()
    notices = [NoticeContent.model_validate_json(row["content"]) for row in rows if row["content"] is not None]
    return notices, dict(merged(stated))


async def _with_store(controller: str, act: "Callable[[CatalogueStore], Awaitable[T]]") -> "T":
    """Do one thing with a controller's catalogue, as the operator."""
    from services.cli import admin, registry
    from services.query.catalogue.store import CatalogueStore

    async with admin.connect() as connection:
        store = CatalogueStore(connection, await registry.find_controller(connection, controller))
        return await act(store)
