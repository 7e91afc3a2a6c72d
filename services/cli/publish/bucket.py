"""A mirror in an S3-compatible bucket, through aiobotocore (the extra `aws`).

Region, credentials and AWS_ENDPOINT_URL come from the environment, as AWS's own tools read them. Invariant: files that
must never change, and the checkpoint, are written on condition (If-None-Match, If-Match), so that not even two writers
can overwrite each other. The store itself makes every object whole and durable before it answers.
"""

import gzip
import os
from contextlib import AsyncExitStack
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, NoRegionError

from schemas.errors import ConfigurationError, MirrorAway, ProofError
from services.cli.publish.target import differs, moved_on, serving_of
from services.query.published import GZIP_LEVEL

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 30
ATTEMPTS: Final = 4
DELETED_AT_ONCE_MAX: Final = 1000  # DeleteObjects takes no more

_NOT_THERE: Final = {"NoSuchKey", "404"}
_CONDITION_FAILED: Final = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class BucketTarget:
    """Objects below one prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def open(self) -> None:
        own_endpoint = "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "max_attempts": ATTEMPTS},
            # Few other stores have a host name for each bucket, or know the newer checksum trailers.
            s3={"addressing_style": "path" if own_endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            self._client = await self._stack.enter_async_context(get_session().create_client("s3", config=config))
        except (NoRegionError, ValueError):
            raise ConfigurationError(
                "the bucket's region or endpoint is not set: AWS_REGION, AWS_ENDPOINT_URL"
            ) from None
        await self._ask("head_bucket")

    async def close(self) -> None:
        await self._stack.aclose()

    async def get(self, path: str) -> bytes | None:
        found = await self._found(path)
        return None if found is None else found[0]

    async def add(self, path: str, content: bytes) -> bool:
        if await self._stored(path, content, IfNoneMatch="*"):
            return True
        if await self.get(path) != content:
            raise ProofError(differs(path))
        return False

    async def put(self, path: str, content: bytes) -> None:
        await self._stored(path, content)

    async def settle(self) -> None:
        """Nothing to wait for: an object is durable when its PUT is answered."""

    async def replace(self, path: str, content: bytes, seen: bytes | None) -> None:
        found = await self._found(path)
        condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": found[1]}
        same = seen == (None if found is None else found[0])
        if not same or not await self._stored(path, content, **condition):
            raise ConfigurationError(moved_on(path))

    async def discard(self, folder: str) -> None:
        prefix = f"{self._prefix}{folder}/"
        while True:
            listed = await self._ask("list_objects_v2", Prefix=prefix, MaxKeys=DELETED_AT_ONCE_MAX)
            keys = [{"Key": item["Key"]} for item in listed.get("Contents", [])]
            if not keys:
                return
            for key in keys:
                # One by one: DeleteObjects needs a checksum that not every store knows.
                await self._ask("delete_object", **key)

    async def _found(self, path: str) -> tuple[bytes, str] | None:
        """The bytes as they were given to us, and the object's ETag."""
        try:
            answer = await self._ask("get_object", Key=self._prefix + path)
        except FileNotFoundError:
            return None
        try:
            async with answer["Body"] as stream:
                content = await stream.read()
        except (HTTPClientError, OSError) as error:
            raise MirrorAway(f"the bucket breaks off ({type(error).__name__})") from None
        if answer.get("ContentEncoding") == "gzip":
            content = _unsqueezed(path, content)
        return content, answer["ETag"]

    async def _stored(self, path: str, content: bytes, **condition: str) -> bool:
        """PUT the file; False if the condition does not hold."""
        serving = serving_of(path)
        headers = {"ContentType": serving.media_type, "CacheControl": serving.cache_control}
        if serving.squeezed:
            content = gzip.compress(content, GZIP_LEVEL, mtime=0)
            headers["ContentEncoding"] = "gzip"
        try:
            await self._ask("put_object", Key=self._prefix + path, Body=content, **headers, **condition)
        except FileExistsError:
            return False
        return True

    async def _ask(self, operation: str, **arguments: Any) -> Any:
        """One request to the bucket; its errors as ours.

        Raises FileNotFoundError and FileExistsError for an absent key and a condition that does not hold.
        """
        try:
            return await getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        except NoCredentialsError:
            raise ConfigurationError("no credentials for the bucket: set AWS_ACCESS_KEY_ID and its secret") from None
        except ClientError as error:
            raise _translated(error, operation) from None
        except (BotoCoreError, OSError) as error:
            raise MirrorAway(f"the bucket does not answer ({type(error).__name__})") from None


def _translated(error: ClientError, operation: str) -> Exception:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if operation == "put_object" and code in _CONDITION_FAILED:
        return FileExistsError(code)
    if operation == "get_object" and code in _NOT_THERE:
        return FileNotFoundError(code)
    if status >= 500 and code != "NotImplemented":
        return MirrorAway(f"the bucket does not answer ({status})")
    # The store's own words could repeat a key; its code cannot.
    return ConfigurationError(
        f"the bucket refuses {operation} ({code}): check its name, that the key may list, get, put and delete in it, "
        "and that the store knows If-Match and If-None-Match"
    )


def _unsqueezed(path: str, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError):
        raise ProofError(differs(path)) from None
