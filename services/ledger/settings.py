"""What an operator can set for the ledger, each with its unit, default and danger."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.topics import EVENTS_TOPIC


class LedgerSettings(BaseSettings):
    """Settings of `sayso ledger`, from the environment with the prefix SAYSO_."""

    model_config = SettingsConfigDict(env_prefix="SAYSO_", extra="ignore", frozen=True)

    database_url: Annotated[
        SecretStr,
        Field(
            description=(
                "Postgres 15 to 18, as a login that may SET ROLE sayso_ledger. No default: it may hold a password."
            )
        ),
    ]
    stream: Annotated[
        str,
        Field(
            description=("'inbox:' (no broker) or 'kafka://host:port[,host:port]'. The inbox is drained in both cases.")
        ),
    ] = "inbox:"
    events_topic: Annotated[
        str,
        Field(
            description=(
                "Kafka topic of sealed events. Danger: another name means other positions; events of "
                "the old one stay unread."
            )
        ),
    ] = EVENTS_TOPIC
    root_key_file: Annotated[
        Path,
        Field(
            description=(
                "File (mode 600, 32 bytes) that unwraps controller keys. Danger: lost, every payload "
                "is unreadable for good."
            )
        ),
    ]
    event_id_key_file: Annotated[
        Path,
        Field(
            description=(
                "File (mode 600, 32 bytes) that names event ids. Danger: changed, old ids are no "
                "longer recognised as duplicates."
            )
        ),
    ]
    ledger_key_dir: Annotated[
        Path,
        Field(
            description=(
                "Directory of the logs' signing keys and the sealing key. The ledger makes keys here; "
                "nobody else may read it."
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
    high_water_dir: Annotated[
        Path,
        Field(
            description=(
                "Directory of the signed sizes, outside the database. Danger: shared by all ledgers; "
                "never restore it from a backup."
            )
        ),
    ]
    batch_events_max: Annotated[
        int,
        Field(
            ge=1, le=5000, description="Most events a transaction; more raises throughput and the time to be recorded."
        ),
    ] = 500
    checkpoint_interval_ms: Annotated[
        int, Field(ge=50, le=1000, description="Pause between looks for new records to sign, milliseconds.")
    ] = 400
    ledger_metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="Port of /metrics (Prometheus); 0 turns it off.")
    ] = 0
    ledger_metrics_host: Annotated[
        str, Field(description="Address that /metrics listens on. Danger: it tells volumes; keep it inside.")
    ] = "127.0.0.1"
