"""`sayso notice`: the exact words put in front of people, named by their SHA-256; published once, never changed."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.errors import ConfigurationError, InvalidValue, NoticeNotValid, Problem
from schemas.notices import notice_hash

app = typer.Typer(no_args_is_help=True, help="Notices: the words that people are shown.")


def read_value(path: Path) -> Any:
    """A YAML or JSON file. Raises ConfigurationError."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read as YAML or JSON ({type(error).__name__})") from None


def read_notice(path: Path) -> bytes:
    """The canonical bytes of a notice file. Raises ConfigurationError that names the member at fault."""
    from schemas.notices import notice_bytes

    try:
        return notice_bytes(read_value(path))
    except InvalidValue as error:
        raise ConfigurationError(f"{path} is not a notice: see its member {error.pointer}") from None
    except Problem as error:
        raise ConfigurationError(f"{path} is not a notice: {error.title}. {error.advice}") from None
    except TypeError as error:
        raise ConfigurationError(f"{path} is not a notice ({type(error).__name__})") from None


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="A notice in one language, or its source in all of them; YAML or JSON.")],
    site: Annotated[str, typer.Option(help="The site that shows it.")],
) -> None:
    """Publish a notice for a site and print its hash, or one line a language; doubts go to the error output."""
    from schemas.notice_making import read_source
    from services.cli import admin, registry

    value = read_value(file)
    is_source = isinstance(value, dict) and "texts" in value
    try:
        source = read_source(value) if is_source else None
    except NoticeNotValid as error:
        raise ConfigurationError(f"{file} is not the source of a notice: see its member {error.pointer}") from None

    async def run() -> list[str]:
        async with admin.connect() as connection:
            if source is None:
                content = read_notice(file)
                _doubt(content)
                return [(await registry.publish_notice(connection, site, content)).hex()]
            said = []
            for made in await registry.publish_source(connection, site, source):
                _doubt(made.content)
                changed = ", ".join(made.changes) or "nothing that concerns earlier answers"
                said.append(f"{notice_hash(made.content).hex()}  {made.language}  changed: {changed}")
            return said

    print("\n".join(asyncio.run(run())))


def _doubt(content: bytes) -> None:
    from schemas.catalogue import doubts
    from schemas.notices import NoticeContent

    for doubt in doubts(NoticeContent.model_validate_json(content)):
        typer.echo(f"doubt: {doubt}", err=True)


@app.command("list")
def list_notices(site: Annotated[str, typer.Option(help="The site.")]) -> None:
    """List the notices of a site."""
    from schemas.notices import NoticeContent
    from services.cli import admin, output

    async def run() -> str:
        async with admin.connect() as connection:
            rows = await connection.fetch(admin.QUERIES["list_notices"], site)
        shown = []
        for row in rows:
            content = NoticeContent.model_validate_json(row["content"])
            published = f"{row['published_at']:%Y-%m-%d %H:%M}"
            shown.append((row["notice"].hex(), content.notice_id, content.version, content.language, published))
        return output.table(("sha256", "notice", "version", "language", "published"), shown)

    print(asyncio.run(run()))


@app.command("hash")
def hash_words(
    file: Annotated[Path, typer.Argument(help="The words of a banner, as `sayso.shown().text` gives them.")],
    language: Annotated[str, typer.Option(help="Their language, as the page states it.")],
) -> None:
    """Print the hash that an adapter gives to these words, to tie them to a notice with `sayso notice match`."""
    from schemas.captured import captured_hash

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read as UTF-8 text ({type(error).__name__})") from None
    print(captured_hash(text, language))


@app.command()
def match(
    shown: Annotated[str, typer.Argument(help="SHA-256 that an adapter read off the screen, 64 hex digits.")],
    notice: Annotated[str, typer.Argument(help="SHA-256 of the published notice with those words.")],
    controller: Annotated[str, typer.Option(help="Whose notice it is.")],
) -> None:
    """State, as the DPO, that words seen on a page are those of a published notice."""
    from services.cli import admin, registry

    if not all(re.fullmatch(r"[0-9a-f]{64}", name) for name in (shown, notice)):
        raise ConfigurationError("both hashes are 64 lower-case hex digits: see `sayso notice list`")

    async def run() -> None:
        async with admin.connect() as connection:
            await registry.match_notice(connection, controller, bytes.fromhex(shown), bytes.fromhex(notice))

    asyncio.run(run())
    print("Matched: consents under that hash count from now on.")
