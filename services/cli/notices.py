"""`sayso notice`: the exact words put in front of people, named by their SHA-256; published once, never changed."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.errors import ConfigurationError, InvalidValue, Problem

app = typer.Typer(no_args_is_help=True, help="Notices: the words that people are shown.")


def read_notice(path: Path) -> bytes:
    """The canonical bytes of a notice file (YAML or JSON). Raises ConfigurationError that names the member at fault."""
    import yaml

    from schemas.notices import notice_bytes

    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return notice_bytes(value)
    except InvalidValue as error:
        raise ConfigurationError(f"{path} is not a notice: see its member {error.pointer}") from None
    except Problem as error:
        raise ConfigurationError(f"{path} is not a notice: {error.title}. {error.advice}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise ConfigurationError(f"{path} cannot be read as YAML or JSON ({type(error).__name__})") from None


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="The notice, YAML or JSON.")],
    site: Annotated[str, typer.Option(help="The site that shows it.")],
) -> None:
    """Publish a notice for a site and print its hash; doubts about it go to the error output."""
    from schemas.catalogue import doubts
    from schemas.notices import NoticeContent
    from services.cli import admin, registry

    content = read_notice(file)
    for doubt in doubts(NoticeContent.model_validate_json(content)):
        typer.echo(f"doubt: {doubt}", err=True)

    async def run() -> bytes:
        async with admin.connect() as connection:
            return await registry.publish_notice(connection, site, content)

    print(asyncio.run(run()).hex())


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
