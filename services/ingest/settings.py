"""What an operator can set for ingest, each with its unit, default and danger."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.topics import EVENTS_TOPIC


class IngestSettings(BaseSettings):
    """Settings of `sayso ingest`, from the environment with the prefix SAYSO_."""

    model_config = SettingsConfigDict(env_prefix="SAYSO_", extra="ignore", frozen=True)

    database_url: Annotated[
        SecretStr,
        Field(
            description="Postgres 15 to 18, as a login that may SET ROLE to the service's role (sayso_ingest, "
            "sayso_ledger, sayso_query). No default: it may hold a password."
        ),
    ]
    stream: Annotated[
        str,
        Field(
            description="'inbox:' (no broker) or 'kafka://host:port[,host:port]'. The inbox is drained in both cases."
        ),
    ] = "inbox:"
    events_topic: Annotated[
        str,
        Field(
            description="Kafka topic of sealed events. Danger: another name means other positions; events of the "
            "old one stay unread."
        ),
    ] = EVENTS_TOPIC
    suppression_dir: Annotated[
        Path,
        Field(
            description=(
                "Directory of the suppression file, which the ledger writes. Danger: with an older copy of it a "
                "restored database shows people who were erased."
            )
        ),
    ]
    event_id_key_file: Annotated[
        Path,
        Field(
            description="File (mode 600, 32 bytes) that names event ids. Danger: changed, old ids are no longer "
            "recognised as duplicates."
        ),
    ]
    epoch_key_file: Annotated[
        Path,
        Field(
            description="File (mode 600, 32 bytes) of the Ed25519 key that signs this process's epoch headers. Its "
            "public half must be registered as a publisher; the ledger sets everything else aside."
        ),
    ]
    notice_key_file: Annotated[
        Path,
        Field(
            description="File (mode 600, 32 bytes) of the Ed25519 key that signs notice tokens; the same on all ingest "
            "processes, or one does not recognise the tokens of another."
        ),
    ]
    ingest_host: Annotated[str, Field(description="Address that ingest listens on.")] = "127.0.0.1"
    ingest_port: Annotated[int, Field(ge=1, le=65535, description="Port that ingest listens on.")] = 8080
    ingest_pool_size: Annotated[
        int,
        Field(
            ge=4, le=100, description="Most Postgres connections of one ingest process; the inbox uses some of them."
        ),
    ] = 8
    ingest_start_s: Annotated[
        int,
        Field(
            ge=0,
            le=600,
            description="Seconds to wait at start for the database, the registration and the ledger's sealing key "
            "before refusing to start.",
        ),
    ] = 60
