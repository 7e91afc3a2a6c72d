"""What an operator can set for the ledger, each with its unit, default and danger."""

from datetime import timedelta
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
    key_provider: Annotated[
        str,
        Field(
            description=(
                "Who holds the root key and the logs' signing keys: 'file:', 'vault://HOST:PORT/MOUNT' (Transit, over "
                "TLS but on loopback) or 'aws-kms:ALIAS-OR-KEY-ID'. Danger: another one cannot unwrap what this one "
                "wrapped: move with `sayso key rotate root --to`."
            )
        ),
    ] = "file:"
    sealing_key_days: Annotated[
        int,
        Field(ge=1, le=365, description="Age at which the ledger replaces the key that messages are sealed to, days."),
    ] = 30
    stream_retention_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description=(
                "How long the topic of sealed events keeps a message, days, at least. Danger: with less than the "
                "topic's retention, sealing keys are destroyed before their last message was read."
            ),
        ),
    ] = 7
    vault_token_file: Annotated[
        Path | None,
        Field(description="File (mode 600) with the token for Vault; read at every request. Only for 'vault:'."),
    ] = None
    root_key_file: Annotated[
        Path | None,
        Field(
            description=(
                "File (mode 600, 32 bytes) that unwraps controller keys; needed with 'file:'. Danger: lost, every "
                "payload is unreadable for good."
            )
        ),
    ] = None
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
    suppression_dir: Annotated[
        Path,
        Field(
            description=(
                "Directory of the suppression file, outside the database, shared with ingest and query. Danger: a "
                "restored database is safe only with the newest one; copy it after every erasure."
            )
        ),
    ]
    backup_window_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description=(
                "Age of the oldest backup you keep, days. Danger: keys that an older one needs are destroyed; set "
                "it longer than you keep backups, never shorter."
            ),
        ),
    ] = 30
    tombstone_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description=(
                "How long names of erased identifiers are kept to turn late copies away, days; at least as long as "
                "backups and topics live."
            ),
        ),
    ] = 60
    docket_days: Annotated[
        int,
        Field(
            ge=1,
            le=365,
            description="How long downstream systems may take to answer an erasure before its docket is emptied, days.",
        ),
    ] = 30
    webhook_inside: Annotated[
        bool,
        Field(
            description=(
                "Whether webhooks may go to private, loopback and link-local addresses, for systems in your own "
                "network. Danger: whoever arranges a controller's systems can then make the ledger post into it."
            )
        ),
    ] = False
    batch_events_max: Annotated[
        int,
        Field(
            ge=1, le=5000, description="Most events a transaction; more raises throughput and the time to be recorded."
        ),
    ] = 500
    checkpoint_interval_ms: Annotated[
        int, Field(ge=50, le=1000, description="Pause between looks for new records to sign, milliseconds.")
    ] = 400

    @property
    def backup_window(self) -> timedelta:
        """How long a backup may be kept."""
        return timedelta(days=self.backup_window_days)

    witness_policy_file: Annotated[
        Path | None,
        Field(
            description=(
                "File in C2SP tlog-policy form that names the witnesses to ask, with their submission prefixes, and "
                "the quorum. Without it none is asked."
            )
        ),
    ] = None
    witness_hold: Annotated[
        bool,
        Field(
            description=(
                "Show a checkpoint only once the policy's quorum has cosigned it. Danger: while too few witnesses "
                "answer, nothing new can be proved; recording goes on. The same for all ledgers."
            )
        ),
    ] = False
    timestamp_authorities_file: Annotated[
        Path | None,
        Field(
            description=(
                "YAML file that names the RFC 3161 authorities to ask: name, url, roots, and perhaps policy. "
                "Without it none is asked. The same for all ledgers."
            )
        ),
    ] = None
    timestamp_interval_s: Annotated[
        int,
        Field(
            ge=1,
            le=7 * 24 * 3600,
            description=(
                "Shortest time between two tokens of one authority for one log, seconds; a proof that is exported "
                "for the first time does not wait for it. Danger: authorities may charge for each."
            ),
        ),
    ] = 3600
    ledger_metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="Port of /metrics (Prometheus); 0 turns it off.")
    ] = 0
    ledger_metrics_host: Annotated[
        str, Field(description="Address that /metrics listens on. Danger: it tells volumes; keep it inside.")
    ] = "127.0.0.1"
