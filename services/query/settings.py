"""What an operator can set for query, each with its unit, default and danger."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.topics import EVENTS_TOPIC


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
    key_provider: Annotated[
        str,
        Field(
            description=(
                "Who holds the root key: 'file:', 'vault://HOST:PORT/MOUNT' (Transit, over TLS but on loopback) or "
                "'aws-kms:ALIAS-OR-KEY-ID'. Danger: the same as the ledger's; another one cannot unwrap anything."
            )
        ),
    ] = "file:"
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
                "File (mode 600, 32 bytes) that names event ids. Danger: changed, old ids are no longer recognised "
                "as duplicates."
            )
        ),
    ]
    suppression_dir: Annotated[
        Path,
        Field(
            description=(
                "Directory of the suppression file, which the ledger writes. Danger: with an older copy of it a "
                "restored database shows people who were erased."
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
    capability_key_file: Annotated[
        Path,
        Field(
            description="File (mode 600, 32 bytes) that seals capabilities and the links in e-mails; the same on all "
            "ingest and query processes. Danger: whoever has it can speak as any visitor; changed, every link that was "
            "sent stops working, those to unsubscribe too."
        ),
    ]
    link_key_file: Annotated[
        Path,
        Field(
            description="File (mode 600, 32 bytes) that seals links to exports, invitations and sign-ins that have "
            "begun; the same on all query processes, and on no other. Danger: whoever has it and knows an export's or "
            "an invitation's id can open it; changed, links and invitations that were sent stop working."
        ),
    ]
    receipt_key_file: Annotated[
        Path,
        Field(
            description=(
                "File (mode 600, 32 bytes) of the Ed25519 key that signs receipts. Danger: changed, receipts made "
                "before verify only for those who kept the old public key."
            )
        ),
    ]
    query_epoch_key_file: Annotated[
        Path,
        Field(
            description=(
                "File (mode 600, 32 bytes) of the Ed25519 key that signs this process's epoch headers. Its public half "
                "must be registered as a publisher of query; without that nobody can be erased, and answers go on."
            )
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
    witness_policy_file: Annotated[
        Path | None,
        Field(
            description=(
                "File in C2SP tlog-policy form that names the witnesses to ask, with their submission prefixes, and "
                "the quorum. Without it none is asked."
            )
        ),
    ] = None
    timestamp_authorities_file: Annotated[
        Path | None,
        Field(
            description=(
                "YAML file that names the RFC 3161 authorities to ask: name, url, roots, and perhaps policy. "
                "Without it none is asked. The same for all ledgers."
            )
        ),
    ] = None
    query_public_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^/?#@\s]+$",
            description="Where query is reached from outside, as 'https://answers.shop.example' (http only for trials "
            "on one machine), without a slash at the end. Sign-in returns there, invitations begin with it, and only "
            "pages of this origin may act with a session. Needed with SAYSO_OIDC_ISSUER.",
        ),
    ] = None
    oidc_issuer: Annotated[
        str | None,
        Field(
            description="The OpenID provider that people sign in with, exactly as its own description names it. "
            "Without it there are access keys only. Danger: whoever runs it can sign in as any person of every "
            "controller."
        ),
    ] = None
    oidc_client_id: Annotated[
        str | None,
        Field(description="How the provider calls this deployment. Needed with SAYSO_OIDC_ISSUER."),
    ] = None
    oidc_client_secret_file: Annotated[
        Path | None,
        Field(
            description="File (mode 600) with the secret that the provider gave this deployment, as text. Needed with "
            "SAYSO_OIDC_ISSUER."
        ),
    ] = None
    export_dir: Annotated[
        Path | None,
        Field(
            description=(
                "Directory that exports are written to, shared by all query processes that have it set; those without "
                "it answer 503. Danger: its files hold personal data until they expire; keep it out of backups."
            )
        ),
    ] = None
    query_host: Annotated[
        str,
        Field(description="Address to listen on. Danger: TLS is the balancer's; never the Internet directly."),
    ] = "127.0.0.1"
    query_port: Annotated[int, Field(ge=0, le=65_535, description="TCP port to listen on; 0 takes a free one.")] = 8081
    query_pool_size: Annotated[
        int,
        Field(
            ge=2,
            le=100,
            description="Connections to Postgres at most; some work needs two. Requests beyond wait for a free one.",
        ),
    ] = 8
