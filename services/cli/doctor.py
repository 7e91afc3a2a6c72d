"""`sayso doctor`: is everything as it must be for consents to be accepted, recorded, signed and proven?

Each finding is a line: ok, not ok with what to do, or not checked with the setting that would let it be checked.
It reads only; nothing personal is looked at.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from schemas.checkpoint import Checkpoint, parse_checkpoint
from schemas.errors import ConfigurationError, ProofError, SaysoError
from schemas.policy import Policy, parse_policy, verify_policy
from schemas.topics import EVENTS_TOPIC, DeadLetterReason
from services.cli import admin
from services.keys import check_provider, open_provider, read_secret, signing_key
from services.ledger.evidence.authorities import read_authorities
from services.ledger.migrate import pending
from services.ledger.sealing_keys import SealingKeys
from services.postgres import Connection, check_durability
from services.stream.address import kafka_bootstrap

State = Literal["ok", "not ok", "not checked"]

KAFKA_TIMEOUT_S: Final = 10
# A checkpoint that has waited this long for its quorum is worth a line.
COSIGNED_WITHIN_S: Final = 60
_SECRET_FILES: Final = (
    "SAYSO_ROOT_KEY_FILE",
    "SAYSO_EVENT_ID_KEY_FILE",
    "SAYSO_EPOCH_KEY_FILE",
    "SAYSO_QUERY_EPOCH_KEY_FILE",
    "SAYSO_NOTICE_KEY_FILE",
    "SAYSO_CAPABILITY_KEY_FILE",
    "SAYSO_LINK_KEY_FILE",
    "SAYSO_RECEIPT_KEY_FILE",
)
# The key that each publishing service signs its epochs with.
_EPOCH_KEYS: Final = {"ingest": "SAYSO_EPOCH_KEY_FILE", "query": "SAYSO_QUERY_EPOCH_KEY_FILE"}
_KEY_FOLDERS: Final = ("SAYSO_LEDGER_KEY_DIR", "SAYSO_CONTROLLER_KEY_DIR", "SAYSO_HIGH_WATER_DIR")


class Finding(NamedTuple):
    """One line of the report."""

    state: State
    subject: str
    text: str

    def line(self) -> str:
        return f"{self.state:<11}  {self.subject:<14}  {self.text}"


async def examine() -> list[Finding]:
    """All checks, in the order in which one would repair what they find."""
    findings = [*_key_files(), _key_provider(), _timestamps()]
    try:
        async with admin.connect() as connection:
            findings += await _database(connection)
            if not any(finding.subject == "schema" and finding.state != "ok" for finding in findings):
                findings += [
                    *await _publishers(connection),
                    await _sealing_key(connection),
                    *await _logs(connection),
                    *await access_logs(connection),
                    await _witnesses(connection),
                    await _high_water(connection),
                    await _backlog(connection),
                    await _dead_letters(connection),
                ]
    except ConfigurationError as error:
        findings.append(Finding("not ok", "database", str(error)))
    findings.append(await _stream())
    return findings


def _held(subject: str, good: str, check: Callable[[], object]) -> Finding:
    """The finding of a check that raises ConfigurationError with what to do."""
    try:
        check()
    except ConfigurationError as error:
        return Finding("not ok", subject, str(error))
    return Finding("ok", subject, good)


def _unset(subject: str, setting: str) -> Finding:
    return Finding("not checked", subject, f"{setting} is not set here")


def _key_files() -> Iterable[Finding]:
    for setting in _SECRET_FILES:
        path = os.environ.get(setting)
        if path is None:
            yield _unset("key file", setting)
        else:
            yield _held("key file", path, partial(read_secret, Path(path)))
    for setting in _KEY_FOLDERS:
        path = os.environ.get(setting)
        if path is None:
            yield _unset("key folder", setting)
        elif not Path(path).is_dir():
            yield Finding("not ok", "key folder", f"{path} is not there: start the ledger once, or restore it")
        elif Path(path).stat().st_mode & 0o077:
            yield Finding("not ok", "key folder", f"{path} is open to others: chmod 700 it")
        else:
            yield Finding("ok", "key folder", path)


class _Provider(NamedTuple):
    """What a provider is opened with."""

    key_provider: str
    root_key_file: Path | None
    vault_token_file: Path | None


def _key_provider() -> Finding:
    """Whether whoever holds the root key wraps and unwraps, for the ledger, which does both."""
    if "SAYSO_LEDGER_KEY_DIR" not in os.environ:
        return _unset("key provider", "SAYSO_LEDGER_KEY_DIR")
    address = os.environ.get("SAYSO_KEY_PROVIDER", "file:")
    root, token = (os.environ.get(name) for name in ("SAYSO_ROOT_KEY_FILE", "SAYSO_VAULT_TOKEN_FILE"))
    try:
        check_provider(open_provider(_Provider(address, Path(root) if root else None, Path(token) if token else None)))
    except ConfigurationError as error:
        return Finding("not ok", "key provider", str(error))
    return Finding("ok", "key provider", f"{address.partition(':')[0]}: wraps and unwraps")


def _timestamps() -> Finding:
    setting = "SAYSO_TIMESTAMP_AUTHORITIES_FILE"
    path = os.environ.get(setting)
    if path is None:
        return _unset("timestamps", setting)
    try:
        authorities = read_authorities(Path(path))
    except ConfigurationError as error:
        return Finding("not ok", "timestamps", str(error))
    if shutil.which("openssl") is None:
        return Finding(
            "not ok", "timestamps", "openssl is not on the PATH: some authorities' tokens need it, install it"
        )
    return Finding("ok", "timestamps", f"asked of {', '.join(authority.name for authority in authorities)}")


async def _database(connection: Connection) -> list[Finding]:
    version = connection.get_server_version()
    findings = [
        Finding("ok", "database", f"Postgres {version.major}.{version.micro} answers")
        if 15 <= version.major <= 18
        else Finding("not ok", "database", f"Postgres {version.major} is not supported: use 15 to 18")
    ]
    try:
        await check_durability(connection)
        findings.append(Finding("ok", "durability", "fsync, full_page_writes and synchronous_commit are on"))
    except ConfigurationError as error:
        findings.append(Finding("not ok", "durability", str(error)))
    missing = [row["name"] for row in await connection.fetch(admin.QUERIES["roles_missing"])]
    findings.append(
        Finding("not ok", "roles", f"{', '.join(missing)} missing: run deploy/postgres/roles.sql as a superuser")
        if missing
        else Finding("ok", "roles", "all four are there")
    )
    lacking = await pending(connection)
    findings.append(
        Finding("not ok", "schema", f"{len(lacking)} migrations are missing: run `sayso migrate`")
        if lacking
        else Finding("ok", "schema", "every migration is applied")
    )
    return findings


async def _publishers(connection: Connection) -> list[Finding]:
    rows = await connection.fetch(admin.QUERIES["publishers_at_work"])
    return [
        _publisher(service, setting, [bytes(row["public_key"]) for row in rows if row["service"] == service])
        for service, setting in _EPOCH_KEYS.items()
    ]


def _publisher(service: str, setting: str, registered: list[bytes]) -> Finding:
    path = os.environ.get(setting)
    command = f"sayso key register-publisher --service {service}"
    if not registered:
        return Finding("not ok", "publisher", f"none of {service} is registered: run `{command} FILE`")
    if path is None:
        return Finding(
            "ok", "publisher", f"{len(registered)} of {service} registered; whether its own is one: {setting}"
        )
    try:
        mine = signing_key(Path(path)).public_key().public_bytes_raw()
    except ConfigurationError as error:
        return Finding("not ok", "publisher", str(error))
    if mine not in registered:
        return Finding("not ok", "publisher", f"{path} is not registered: run `{command} {path}`")
    return Finding("ok", "publisher", f"the epoch key of {service} is registered")


async def _sealing_key(connection: Connection) -> Finding:
    current = await connection.fetchval(admin.QUERIES["sealing_keys_at_work"])
    if current is None:
        return Finding("not ok", "sealing key", "none is published, so ingest cannot seal: start a ledger")
    folder = os.environ.get("SAYSO_LEDGER_KEY_DIR")
    if folder is None:
        return Finding("ok", "sealing key", "one is published")
    try:
        is_here = SealingKeys(Path(folder)).find(current) is not None
    except ConfigurationError as error:
        return Finding("not ok", "sealing key", str(error))
    if not is_here:
        return Finding("not ok", "sealing key", f"the published one is not in {folder}: restore the key folder")
    return Finding("ok", "sealing key", "the ledger holds the published one")


async def _logs(connection: Connection) -> list[Finding]:
    findings = []
    for row in await connection.fetch(admin.QUERIES["opened_logs"]):
        name = f"log {row['name']}"
        if row["vkey"] is None or row["signed_size"] is None:
            findings.append(Finding("not ok", name, "the ledger has not opened it: start a ledger, see its log"))
        elif row["signed_size"] < row["size"]:
            text = (
                f"{row['size'] - row['signed_size']} of {row['size']} records are not signed yet: is a ledger running?"
            )
            findings.append(Finding("not ok", name, text))
        else:
            keys = " and ".join(str(number) for number in row["keys"])
            text = f"{row['size']} records, all under a signed checkpoint; key {keys} signs"
            findings.append(Finding("ok", name, text))
    return findings


async def access_logs(connection: Connection) -> list[Finding]:
    """Without one nobody is shown anything personal: there is no place to say so."""
    return [
        Finding("not ok", "access log", f"{row['name']} has none: sayso controller open-access-log {row['name']}")
        for row in await connection.fetch(admin.QUERIES["lacking_access_log"])
    ]


def _policy(path: Path) -> Policy:
    try:
        return parse_policy(path.read_bytes())
    except OSError:
        raise ConfigurationError(f"{path} cannot be read: point the setting at the policy file") from None


async def _witnesses(connection: Connection) -> Finding:
    path = os.environ.get("SAYSO_WITNESS_POLICY_FILE")
    if path is None:
        return _unset("witnesses", "SAYSO_WITNESS_POLICY_FILE")
    try:
        policy = _policy(Path(path))
    except SaysoError as error:
        return Finding("not ok", "witnesses", str(error))
    agreed: dict[str, bool] = {}
    for row in await connection.fetch(admin.QUERIES["cosigned_checkpoints"], COSIGNED_WITHIN_S):
        if not policy.accepts_log(row["origin"]) or row["overdue"] is None:
            continue
        agreed.setdefault(row["name"], False)
        if row["note"] is not None and row["size"] >= row["overdue"]:
            with suppress(ProofError):
                verify_policy(row["note"], row["origin"], policy)
                agreed[row["name"]] = True
    behind = sorted(name for name, met in agreed.items() if not met)
    if behind:
        text = f"log {', '.join(behind)}: the last checkpoint lacks the quorum: docs/operations.md, 'Witnesses'"
        return Finding("not ok", "witnesses", text)
    return Finding("ok", "witnesses", f"{len(agreed)} logs, each with a quorum of cosignatures")


async def _high_water(connection: Connection) -> Finding:
    folder = os.environ.get("SAYSO_HIGH_WATER_DIR")
    if folder is None:
        return _unset("high-water", "SAYSO_HIGH_WATER_DIR")
    bound = await connection.fetchval(admin.QUERIES["deployment"])
    sizes = {row["origin"]: row["size"] for row in await connection.fetch(admin.QUERIES["opened_logs"])}
    try:
        identity, marks = _marks(Path(folder))
    except (OSError, UnicodeDecodeError, SaysoError) as error:
        text = f"{folder} cannot be read ({type(error).__name__}): restore it, never invent it"
        return Finding("not ok", "high-water", text)
    if str(bound) != identity:
        text = "directory and database do not belong together: docs/operations.md, 'The ledger halted'"
        return Finding("not ok", "high-water", text)
    behind = [mark.origin for mark in marks if (sizes.get(mark.origin) or 0) < mark.size]
    if behind:
        return Finding(
            "not ok", "high-water", f"{', '.join(behind)}: the database lacks what was signed: docs/operations.md"
        )
    return Finding("ok", "high-water", f"{len(marks)} logs, none of them shorter than what was signed")


def _marks(folder: Path) -> tuple[str, list[Checkpoint]]:
    """The directory's id, and the largest checkpoint ever signed of each log."""
    marks = [parse_checkpoint(path.read_text(encoding="utf-8")) for path in folder.glob("*.mark")]
    return (folder / "id").read_text(encoding="ascii").strip(), marks


async def _backlog(connection: Connection) -> Finding:
    waiting = await connection.fetchval(admin.QUERIES["waiting_messages"])
    return Finding("ok", "inbox", f"{waiting} messages wait to be recorded")


async def _dead_letters(connection: Connection) -> Finding:
    rows = await connection.fetch(admin.QUERIES["dead_letter_reasons"])
    if not rows:
        return Finding("ok", "dead letters", "none")
    text = ", ".join(f"{row['letters']} {row['reason']}" for row in rows)
    # A sender that uses an id twice is the sender's mistake; every other reason is ours or an attacker's.
    ours = any(row["reason"] != DeadLetterReason.ID_CONFLICT for row in rows)
    return Finding("not ok" if ours else "ok", "dead letters", f"{text}: see docs/operations.md, 'Dead letters'")


async def _stream() -> Finding:
    stream = os.environ.get("SAYSO_STREAM", "inbox:")
    try:
        bootstrap = kafka_bootstrap(stream)
    except ConfigurationError as error:
        return Finding("not ok", "stream", str(error))
    if bootstrap is None:
        return Finding("ok", "stream", "the inbox in Postgres")
    topic = os.environ.get("SAYSO_EVENTS_TOPIC", EVENTS_TOPIC)
    from aiokafka import AIOKafkaClient
    from aiokafka.errors import KafkaError

    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=KAFKA_TIMEOUT_S * 1000)
    try:
        await client.bootstrap()
        metadata = await client.fetch_all_metadata()
    except (KafkaError, OSError) as error:
        return Finding(
            "not ok", "stream", f"Kafka does not answer ({type(error).__name__}): events go to the inbox meanwhile"
        )
    finally:
        await client.close()
    partitions = metadata.partitions_for_topic(topic)
    if not partitions:
        return Finding("not ok", "stream", f"Kafka has no topic {topic}: python deploy/kafka/topics.py makes it")
    return Finding("ok", "stream", f"Kafka answers; {topic} has {len(partitions)} partitions")
