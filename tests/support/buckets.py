"""S3-compatible servers for tests, over HTTP on loopback: versitygw, a real store on real files, and moto beside it.

moto answers as S3 does and keeps everything in memory.
"""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiobotocore.session import get_session
from botocore.exceptions import EndpointConnectionError
from moto.server import ThreadedMotoServer

from deploy.kafka.node import free_port
from tests.support.go_programs import S3_SERVER, build_go
from tests.support.wait import until

STOP_S = 10
BUCKET = "mirror"
KEY, SECRET = "test-key", "test-secret"


def environment_of(endpoint: str) -> dict[str, str]:
    """What an operator sets to reach the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@asynccontextmanager
async def real_store() -> AsyncIterator[str]:
    """A running versitygw over a directory of its own, with one bucket; yields its endpoint."""
    with tempfile.TemporaryDirectory(prefix="sayso-s3-") as folder:
        port = free_port()
        root, sidecar = Path(folder) / "objects", Path(folder) / "metadata"
        root.mkdir()
        sidecar.mkdir()
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(
                # Metadata in files of its own: not every file system of a test machine has extended attributes.
                [
                    build_go(S3_SERVER),
                    "--port",
                    f"127.0.0.1:{port}",
                    "--quiet",
                    "posix",
                    "--sidecar",
                    str(sidecar),
                    str(root),
                ],
                env={"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET, "PATH": os.environ["PATH"], "HOME": folder},
                stdout=log,
                stderr=log,
            )
        try:
            endpoint = f"http://127.0.0.1:{port}"
            await _make_bucket(endpoint, server)
            yield endpoint
        finally:
            server.terminate()
            server.wait(STOP_S)


@asynccontextmanager
async def stand_in() -> AsyncIterator[str]:
    """A running moto with one bucket; yields its endpoint."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        await _make_bucket(f"http://{host}:{port}", None)
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@asynccontextmanager
async def client_of(endpoint: str) -> AsyncIterator[Any]:
    """An S3 client of the test's own."""
    made = get_session().create_client(
        "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    async with made as client:
        yield client


async def _make_bucket(endpoint: str, server: "subprocess.Popen[bytes] | None") -> None:
    async def made() -> bool:
        assert server is None or server.poll() is None, "the S3 server ended"
        try:
            async with client_of(endpoint) as client:
                await client.create_bucket(Bucket=BUCKET)
        except EndpointConnectionError:
            return False
        return True

    await until(made, what="the S3 server answers", deadline_s=20)
