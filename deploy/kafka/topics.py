"""Creates the topics of topics.yaml that a cluster lacks: `python deploy/kafka/topics.py --bootstrap HOST:PORT`.

Invariant: a topic that exists is left as it is; settings of live topics are changed by hand, knowingly.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

TOPICS = Path(__file__).resolve().with_name("topics.yaml")
# Below three replicas, asking two of them to be in step would stop all writing as soon as one is away.
REPLICATION_FOR_TWO_IN_STEP = 3
TOPIC_ALREADY_EXISTS = 36
CREATE_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class TopicSettings:
    """One topic as topics.yaml describes it."""

    name: str
    partitions: int
    config: dict[str, str]


def load_topics(path: Path = TOPICS) -> list[TopicSettings]:
    document = yaml.safe_load(path.read_text())
    return [
        TopicSettings(name, topic["partitions"], {key: str(value) for key, value in topic["config"].items()})
        for name, topic in document.items()
    ]


async def create_topics(bootstrap: str, topics: Sequence[TopicSettings], *, replication: int = 1) -> list[str]:
    """Create those of `topics` that are missing; their names. Raises aiokafka's KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions, replication, topic_configs=_config(topic, replication))
                for topic in topics
            ],
            timeout_ms=CREATE_TIMEOUT_MS,
        )
    finally:
        await admin.close()
    created = []
    for name, code, message in answer.topic_errors:
        if code == 0:
            created.append(name)
        elif code != TOPIC_ALREADY_EXISTS:
            raise for_code(code)(f"topic {name}: {message}")
    return created


def _config(topic: TopicSettings, replication: int) -> dict[str, str]:
    if replication >= REPLICATION_FOR_TWO_IN_STEP:
        return topic.config
    return {**topic.config, "min.insync.replicas": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Create the topics that are missing.")
    parser.add_argument("--bootstrap", required=True, help="HOST:PORT of a broker")
    parser.add_argument("--replication", type=int, default=REPLICATION_FOR_TWO_IN_STEP, help="replicas of each topic")
    arguments = parser.parse_args()
    try:
        created = asyncio.run(create_topics(arguments.bootstrap, load_topics(), replication=arguments.replication))
    except KafkaError as error:
        print(f"topics were not created: {error}", file=sys.stderr)
        return 1
    print("\n".join(created) if created else "all topics are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
