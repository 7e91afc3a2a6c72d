"""Test servers in containers, through testcontainers, where an engine answers and has the image or can pull it.

SAYSO_TEST_CONTAINERS=1 (set by `make test-containers`) makes it an error when it does not: nothing falls back silently.
"""

import functools
import os
import socket
from urllib.parse import urlsplit

import docker
import docker.errors
import requests
from testcontainers.core.container import DockerContainer

CONNECT_TIMEOUT_S = 3
STOP_DEADLINE_S = 15


class EngineError(Exception):
    """A container engine was asked for and cannot be used; the message says what to do next."""


@functools.cache
def engine_offers(image: str) -> bool:
    """Whether a container engine answers and holds `image`, pulling it if need be. Asked once a process."""
    reason = _why_not(image)
    if reason is None:
        return True
    if os.environ.get("SAYSO_TEST_CONTAINERS") == "1":
        raise EngineError(f"SAYSO_TEST_CONTAINERS=1, but {reason}: run deploy/containers/podman-engine.sh")
    return False


def _why_not(image: str) -> str | None:
    if not _engine_listens():
        return "no container engine answers"
    try:
        client = docker.from_env(timeout=10)
    except docker.errors.DockerException:
        return "the container engine does not speak Docker's API"
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(image)
        except (docker.errors.DockerException, requests.RequestException):
            return f"the engine has no image {image} and cannot pull it"
    except (docker.errors.DockerException, requests.RequestException):
        return "the container engine does not answer"
    finally:
        client.close()
    return None


def _engine_listens() -> bool:
    """Asked with a plain socket first: docker-py leaks its own when nobody listens."""
    address = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    try:
        if address.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(CONNECT_TIMEOUT_S)
                probe.connect(address.path)
        else:
            socket.create_connection((address.hostname or "127.0.0.1", address.port or 2375), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


class Box:
    """One container's life: created at the first start, kept over kills and restarts, removed at the end."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._created = False

    def start(self) -> None:
        if self._created:
            self._container.get_wrapped_container().start()
        else:
            self._created = True
            self._container.start()

    def kill9(self) -> None:
        """SIGKILL; returns when the container is no longer running."""
        self._container.get_wrapped_container().kill("SIGKILL")
        self._container.get_wrapped_container().wait(timeout=STOP_DEADLINE_S)

    def stop(self) -> None:
        if self._created:
            self._container.get_wrapped_container().stop(timeout=STOP_DEADLINE_S)

    def destroy(self) -> None:
        self._container.stop(force=True, delete_volume=True)

    def log_tail(self) -> str:
        log: bytes = self._container.get_wrapped_container().logs(tail=25)
        return log.decode(errors="replace")
