"""Apache Kafka for tests: one broker a session, or one of a test's own that may be killed.

Where it comes from, first that fits: SAYSO_TEST_KAFKA (a bootstrap address), a container engine
(tests.support.containers), the jars (deploy/kafka). Never a fake.
"""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from testcontainers.core.container import DockerContainer

from deploy.kafka.node import KafkaNode, free_port
from deploy.kafka.topics import TopicSettings, create_topics
from tests.support.containers import Box, engine_offers
from tests.support.databases import run_blocking
from tests.support.wait import until

IMAGE = "apache/kafka:4.3.1"
START_DEADLINE_S = 90


class KafkaServer(Protocol):
    """A running broker, plain text, without automatic topics."""

    kind: str
    bootstrap: str


class KillableKafka(KafkaServer, Protocol):
    """A broker of one test's own: killed, restarted, or cut off.

    `CableProxy(broker.proxy_target, port=broker.proxy_port)` is its cable: clients that bootstrap at
    127.0.0.1:`proxy_port` stay behind the proxy, those at `bootstrap` never see it.
    """

    proxy_port: int

    @property
    def proxy_target(self) -> tuple[str, int]: ...
    def start(self) -> None: ...
    def kill9(self) -> None: ...
    def restart(self) -> None: ...
    def stop(self) -> None: ...


class ExternalKafka:
    """The cluster somebody named in SAYSO_TEST_KAFKA."""

    kind = "external"

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


class JarsKafka:
    """A node of deploy/kafka in a folder of its own."""

    kind = "jars"

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sayso-kafka-"))
        self.proxy_port = free_port()
        self._node = KafkaNode(self.directory, proxy_port=self.proxy_port)
        self.bootstrap = self._node.bootstrap

    @property
    def proxy_target(self) -> tuple[str, int]:
        return self._node.proxy_target

    def start(self) -> None:
        self._node.start()

    def kill9(self) -> None:
        self._node.kill9()

    def restart(self) -> None:
        self._node.restart()

    def stop(self) -> None:
        self._node.stop()

    def destroy(self) -> None:
        """Stop it and remove its folder."""
        self._node.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class ContainerKafka:
    """The apache/kafka image, run by a container engine through testcontainers."""

    kind = "container"

    def __init__(self) -> None:
        port, self._proxied, self.proxy_port = free_port(), free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        self._container = (
            DockerContainer(IMAGE)
            .with_envs(**_image_settings(port, self.proxy_port))
            .with_bind_ports(9092, port)
            .with_bind_ports(9094, self._proxied)
        )
        self._box = Box(self._container)

    @property
    def proxy_target(self) -> tuple[str, int]:
        return "127.0.0.1", self._proxied

    def start(self) -> None:
        """Make and start the container, or start the stopped one again; return when the broker answers."""
        self._box.start()
        deadline = time.monotonic() + START_DEADLINE_S
        while not run_blocking(_answers(self.bootstrap)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no broker after {START_DEADLINE_S} s; its log ends with:\n{self._box.log_tail()}")
            time.sleep(0.1)

    def kill9(self) -> None:
        """SIGKILL to the container's processes; returns when they are gone."""
        self._box.kill9()

    def restart(self) -> None:
        """The same broker again: same port, same data."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self._box.stop()

    def destroy(self) -> None:
        """Stop it and remove it."""
        self._box.destroy()


def _image_settings(port: int, proxy_port: int) -> dict[str, str]:
    """What KafkaNode puts into server.properties, in the words of the image's environment."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
        "KAFKA_LISTENERS": "DIRECT://:9092,CONTROLLER://:9093,PROXIED://:9094,INTERNAL://:9095",
        "KAFKA_ADVERTISED_LISTENERS": (
            f"DIRECT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy_port},INTERNAL://localhost:9095"
        ),
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": (
            "DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT,INTERNAL:PLAINTEXT"
        ),
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "2000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
        "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
        "KAFKA_HEAP_OPTS": "-Xmx512m",
    }


async def _answers(bootstrap: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await admin.start()
        await admin.describe_cluster()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return True


def shared_kafka() -> tuple[KafkaServer, Callable[[], None]]:
    """The broker of a test session, and how to end it."""
    bootstrap = os.environ.get("SAYSO_TEST_KAFKA")
    if bootstrap is not None:
        return ExternalKafka(bootstrap), lambda: None
    return own_kafka()


def own_kafka() -> tuple[KillableKafka, Callable[[], None]]:
    """A started broker that belongs to the caller alone, and how to end it."""
    broker = ContainerKafka() if engine_offers(IMAGE) else JarsKafka()
    try:
        broker.start()
    except BaseException:
        broker.destroy()
        raise
    return broker, broker.destroy


def make_topic(
    bootstrap: str, *, partitions: int = 1, prefix: str = "test", config: dict[str, str] | None = None
) -> str:
    """A new topic under a name of its own, every partition of which has a leader."""
    name = f"{prefix}.{uuid.uuid4().hex[:16]}"
    run_blocking(_make_topic(bootstrap, TopicSettings(name, partitions, config or {})))
    return name


async def _make_topic(bootstrap: str, topic: TopicSettings) -> None:
    await create_topics(bootstrap, [topic])
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def led() -> bool:
        answers = await admin.describe_topics([topic.name])
        found = [part for answer in answers for part in answer["partitions"] if part["leader"] >= 0]
        return len(found) == topic.partitions

    try:
        await until(led, what=f"{topic.name} has leaders")
    finally:
        await admin.close()


def make_group() -> str:
    """The id of a consumer group nobody has used."""
    return f"test.{uuid.uuid4().hex[:16]}"
