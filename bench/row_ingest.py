"""Rows 1 and 2, ingest on Kafka with acks=all: one event a request, and 500 events a request.

Judged is CPU time an event of the one Python process, because broker, load and service share the cores. The limits:
a bare ASGI echo under the same load, and a raw aiokafka producer that sends the bytes ingest sends.
"""

import asyncio
import pickle
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.children import BenchError, Child
from bench.client import Load
from bench.machine import Cost, Meter
from bench.produce import records_of
from bench.report import Row, Say
from bench.workload import Events, seal
from bench.world import ORIGIN, SITE_KEY, BenchDeployment, World
from deploy.kafka.node import free_port

CONNECTIONS: Final = 64
BATCH: Final = 500
BATCH_CONNECTIONS: Final = 4


def measure_single(world: World, say: Say, *, requests: int, rounds: int) -> Row:
    """Row 1."""
    ours: list[Cost] = []
    limits: list[Cost] = []
    with world.deployment() as deployment:
        topic = asyncio.run(world.make_topic())
        port = free_port()
        echo_child = Child("bench.echo", world.directory, args=[str(port)])
        with deployment.ingest(topic) as (ingest, ingest_port), echo_child as echo:
            echo.said("ready")
            for number in range(rounds):
                limits.append(_post(deployment, echo.pid, load_of(deployment, port, requests))[0])
                ours.append(_post(deployment, ingest.pid, load_of(deployment, ingest_port, requests))[0])
                say(
                    f"one event a request, {number + 1}/{rounds}: ingest {ours[-1].process_us:.0f} us of CPU, "
                    f"{ours[-1].rate:,.0f}/s; echo {limits[-1].process_us:.0f} us, {limits[-1].rate:,.0f}/s"
                )
    cost, limit = median(c.process_us for c in ours), median(c.process_us for c in limits)
    return Row(
        number=1,
        what="ingest, one event a request",
        measured=f"{cost:.0f} us CPU an event",
        beside=f"bare ASGI echo {limit:.0f} us",
        ratio=limit / cost,
        at_least=0.60,
        details={
            "ingest": [_said(c) for c in ours],
            "echo": [_said(c) for c in limits],
            "wall ratio": median(c.rate for c in ours) / median(c.rate for c in limits),
        },
    )


def measure_batches(world: World, say: Say, *, requests: int, rounds: int) -> Row:
    """Row 2."""
    events = requests * BATCH
    costs: dict[str, list[Cost]] = {"ingest": [], "batches": [], "single": []}
    with world.deployment() as deployment:
        topic = asyncio.run(world.make_topic())
        file = world.directory / "records.pickle"
        now_us = time.time_ns() // 1000
        messages = (seal(raw, deployment.epoch, deployment.controller, now_us) for raw in Events(deployment.notice))
        file.write_bytes(pickle.dumps(records_of(list(islice(messages, events)))))
        with deployment.ingest(topic) as (ingest, port):
            load = load_of(deployment, port, requests, events_a_request=BATCH)
            for number in range(rounds):
                costs["ingest"].append(_post(deployment, ingest.pid, load)[0])
                for how in ("batches", "single"):
                    costs[how].append(_produce(world, topic, file, how, events))
                say(
                    f"500 events a request, {number + 1}/{rounds}: "
                    + ", ".join(
                        f"{name} {c[-1].process_us:.1f} us of CPU, {c[-1].rate:,.0f}/s" for name, c in costs.items()
                    )
                )
    cost, limit = (median(c.process_us for c in costs[name]) for name in ("ingest", "batches"))
    return Row(
        number=2,
        what="ingest, 500 events a request",
        measured=f"{cost:.1f} us CPU an event",
        beside=f"raw aiokafka batches {limit:.1f} us",
        ratio=limit / cost,
        at_least=0.50,
        details={name: [_said(c) for c in each] for name, each in costs.items()}
        | {
            "wall ratio": median(c.rate for c in costs["ingest"]) / median(c.rate for c in costs["batches"]),
            "ratio to send() a message": median(c.process_us for c in costs["single"]) / cost,
        },
    )


def load_of(deployment: BenchDeployment, port: int, requests: int, *, events_a_request: int = 1) -> Load:
    single = events_a_request == 1
    return Load(
        port=port,
        path=f"/v1/events?key={SITE_KEY}",
        origin=ORIGIN,
        sha256=deployment.notice.sha256,
        token=deployment.notice.token,
        requests=requests,
        warm_up=1000 if single else 4,
        connections=CONNECTIONS if single else BATCH_CONNECTIONS,
        events_a_request=events_a_request,
    )


def _post(deployment: BenchDeployment, pid: int, load: Load) -> tuple[Cost, dict[str, Any]]:
    """Put the load on a server; what the server's process cost, and what the client saw."""
    world = deployment.world
    with Child("bench.client", world.directory, args=[load.encode()]) as client:
        client.said("ready")
        meter = Meter(pid, world.postgres)
        client.go()
        seen: dict[str, Any] = client.answer()
        cost = meter.cost(load.requests * load.events_a_request)
    if seen["statuses"] != {"202": load.requests}:
        raise BenchError(f"not every request was answered 202: {seen['statuses']}")
    return cost, seen


def _produce(world: World, topic: str, file: Path, how: str, events: int) -> Cost:
    args = [world.kafka.bootstrap, topic, str(file), how]
    with Child("bench.produce", world.directory, args=args) as child:
        child.said("ready")
        meter = Meter(child.pid, world.postgres)
        child.go()
        child.answer()
        return meter.cost(events)


def _said(cost: Cost) -> dict[str, float]:
    return {"events/s": cost.rate, "process us": cost.process_us, "cores used by others": cost.others}
