"""What an operator can set for query, each with its unit, default and danger."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class QuerySettings(BaseSettings):
    """Settings of `sayso query`, from the environment with the prefix SAYSO_."""

    model_config = SettingsConfigDict(env_prefix="SAYSO_", extra="ignore", frozen=True)

    database_url: Annotated[
        SecretStr,
        Field(
            description=(
                "Postgres 15 to 18, as a login that may SET ROLE to the service's role (sayso_ingest, sayso_ledger, "
                "sayso_query). No default: it may hold a password."
            )
        ),
    ]
    root_key_file: Annotated[
        Path,
        Field(
            description=(
                "File (mode 600, 32 bytes) that unwraps controller keys. Danger: lost, every payload is unreadable "
                "for good."
            )
        ),
    ]
    event_id_key_file: Annotated[
        Path,
        Field(
            description=(
                "File (mode 600, 32 bytes) that names event ids. Danger: changed, old ids are no longer recognised "
                "as duplicates."
            )
        ),
    ]
    controller_key_dir: Annotated[
        Path,
        Field(
            description=(
                "Directory of the wrapped controller keys, shared with query. Danger: never back it up "
                "together with the database."
            )
        ),
    ]
    query_host: Annotated[
        str,
        Field(description="Address to listen on. Danger: TLS is the balancer's; never the Internet directly."),
    ] = "127.0.0.1"
    query_port: Annotated[int, Field(ge=0, le=65_535, description="TCP port to listen on; 0 takes a free one.")] = 8081
    query_pool_size: Annotated[
        int,
        Field(ge=1, le=100, description="Connections to Postgres at most. Requests beyond wait for one to be free."),
    ] = 8
