"""What an operator can set for ingest, each with its unit, default and danger."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.limits import BATCH_EVENTS_MAX
from schemas.topics import EVENTS_TOPIC
from services.ingest.networks import ForwardedHeader, Networks


def _are_networks(text: str) -> str:
    Networks(text, "forwarded")
    return text


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
    capability_key_file: Annotated[
        Path,
        Field(
            description="File (mode 600, 32 bytes) that seals capabilities and the links in e-mails; the same on all "
            "ingest and query processes. Danger: whoever has it can speak as any visitor; changed, every link that was "
            "sent stops working, those to unsubscribe too."
        ),
    ]
    ingest_host: Annotated[str, Field(description="Address that ingest listens on.")] = "127.0.0.1"
    ingest_port: Annotated[int, Field(ge=1, le=65535, description="Port that ingest listens on.")] = 8080
    ingest_public_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^/?#@\s]+(/[^/?#@\s]+)*$",
            description="Where ingest is reached from outside, as 'https://consent.shop.example' (http only for trials "
            "on one machine), without a slash at the end. Links in e-mails begin with it; without it none can be made.",
        ),
    ] = None
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
    grant_age_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="Days after which a grant that a page or an app posts late is turned away; refusals never are. "
            "Danger: longer leaves more time to a stolen copy, shorter loses choices made offline.",
        ),
    ] = 30
    trusted_proxies: Annotated[
        str,
        AfterValidator(_are_networks),
        Field(
            description="Networks (CIDR, separated by commas) of the proxies in front of ingest; default none. Danger: "
            "left out, all visitors behind a proxy share one rate limit; too wide, visitors choose their own address."
        ),
    ] = ""
    forwarded_header: Annotated[
        ForwardedHeader,
        Field(
            description="Header in which trusted proxies name the client: 'x-forwarded-for' or 'forwarded' (RFC 7239). "
            "Danger: one that they pass on unchanged is the visitor's own word."
        ),
    ] = "x-forwarded-for"
    address_kept: Annotated[
        Literal["none", "truncated"],
        Field(
            description="What a record keeps of a visitor's address: 'none', or 'truncated' to IPv4 /24 and IPv6 /48. "
            "It goes into the part that is erased first. Danger: even a truncated address is personal data."
        ),
    ] = "none"
    country_header: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9-]{0,64}$",
            description="Header in which a trusted proxy states the visitor's country (ISO 3166, two letters), as "
            "'cf-ipcountry'; default none is kept. Danger: a proxy that does not set it passes on what visitors wrote.",
        ),
    ] = ""
    user_agent_kept: Annotated[
        Literal["none", "family"],
        Field(description="What a record keeps of a visitor's browser: 'none', or its 'family' (Firefox), no version."),
    ] = "none"
    rate_limit_per_s: Annotated[
        float,
        Field(
            ge=0,
            description="Events a second that one network (IPv4 /24, IPv6 /48) may send with one publishable or app "
            "key, on the long run; 0 is no limit. Danger: too low, offices and mobile networks wait; nothing is lost.",
        ),
    ] = 10
    rate_limit_burst: Annotated[
        int,
        Field(ge=BATCH_EVENTS_MAX, description="Events that it may send at once, before that rate counts."),
    ] = 600
    rate_limit_network_per_s: Annotated[
        float,
        Field(ge=0, description="Events a second that one network may send with all such keys; 0 is no limit."),
    ] = 50
    rate_limit_network_burst: Annotated[
        int,
        Field(ge=BATCH_EVENTS_MAX, description="Events that it may send at once with all such keys."),
    ] = 3000
    rate_limit_unconfirmed_per_s: Annotated[
        float,
        Field(
            ge=0,
            description="Events a second that one network may send about people it has not shown to be (marked "
            "unconfirmed); 0 is no limit. Danger: without one a stranger suspends consents faster than you undo it.",
        ),
    ] = 1
    rate_limit_unconfirmed_burst: Annotated[
        int, Field(ge=1, description="Events about people not shown to be the sender that it may send at once.")
    ] = 60
    rate_limit_server_per_s: Annotated[
        float, Field(ge=0, description="Events a second that one server key may send; the default 0 is no limit.")
    ] = 0
    rate_limit_server_burst: Annotated[
        int, Field(ge=BATCH_EVENTS_MAX, description="Events that it may send at once, where it has a limit.")
    ] = 5000
    rate_limit_redis_url_file: Annotated[
        Path | None,
        Field(
            description="File (mode 600) with the address of a Redis, redis://... or rediss://..., that several ingest "
            "processes share their limits in; needs the extra 'redis'. Without it each process counts for itself."
        ),
    ] = None
