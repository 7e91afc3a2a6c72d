"""The public API as a site's browser, a site's server and a DPO use it; every unexpected answer is a SaysoError.

Errors name the route and the status, never what was sent.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import httpx2
import orjson

from schemas.canonical import canonical_json
from schemas.errors import SaysoError
from schemas.events import Identifier
from schemas.notices import notice_hash

WAIT_S: Final = 20
TIMEOUT_S: Final = 30.0
_RETRY_S: Final = 0.2
_SECONDS_FOR_A_CHECKPOINT: Final = 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event was recorded."""

    log: str
    index: int


class Shown(NamedTuple):
    """A notice as the banner got it: content, hash and the token that proves who served it."""

    content: dict[str, Any]
    sha256: str
    token: str


class Client:
    """One connection pool for both services. Use it as an async context manager."""

    def __init__(self, ingest_url: str, query_url: str, access_key: str) -> None:
        self._ingest = ingest_url
        self._query = query_url
        self._bearer = {"authorization": f"Bearer {access_key}"}
        # No proxy of the environment stands between this machine and itself.
        self._http = httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def notice(self, site: str, language: str) -> Shown:
        """What a banner fetches before it is drawn."""
        answer = await self._get(f"{self._ingest}/v1/notices/{site}", {"language": language}, {})
        value = orjson.loads(answer)
        if notice_hash(canonical_json(value["content"])).hex() != value["sha256"]:
            raise SaysoError("GET .../notices answered words that are not those of their hash")
        return Shown(value["content"], value["sha256"], value["token"])

    async def post_as_browser(self, key: str, origin: str, event: bytes) -> Place:
        """As a page posts: publishable key in the URL, text/plain, the page's origin."""
        headers = {"origin": origin, "content-type": "text/plain"}
        return await self._post(event, headers, {"key": key})

    async def post_as_server(self, key: str, event: bytes) -> Place:
        """As a site's server posts: with its secret key."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/cloudevents+json"}
        return await self._post(event, headers, {})

    async def _post(self, event: bytes, headers: Mapping[str, str], parameters: Mapping[str, str]) -> Place:
        answer = await self._http.post(
            f"{self._ingest}/v1/events",
            content=event,
            headers={**headers, "prefer": f"wait={WAIT_S}"},
            params=parameters,
        )
        if answer.status_code != httpx2.codes.CREATED:
            raise SaysoError(f"POST /v1/events answered {answer.status_code} instead of 201: {_problem(answer)}")
        value = orjson.loads(answer.content)
        return Place(value["log"], value["index"])

    async def subject(self, who: Identifier) -> str:
        """The subject that an identifier belongs to."""
        answer = await self._http.post(
            f"{self._query}/v1/subjects/lookup", json={"identifier": who.model_dump()}, headers=self._bearer
        )
        if answer.status_code != httpx2.codes.OK:
            raise SaysoError(
                f"POST /v1/subjects/lookup answered {answer.status_code} instead of 200: {_problem(answer)}"
            )
        found: str = orjson.loads(answer.content)["subject"]
        return found

    async def status(self, subject: str, purpose: str) -> dict[str, Any]:
        """Whether a consent stands, with reasons."""
        url = f"{self._query}/v1/subjects/{subject}/status"
        status: dict[str, Any] = orjson.loads(await self._get(url, {"purpose": purpose}, self._bearer))
        return status

    async def history(self, subject: str) -> list[dict[str, Any]]:
        """Every record of a subject, in the order of their places."""
        records: list[dict[str, Any]] = []
        parameters: dict[str, str] = {}
        while True:
            answer = await self._get(f"{self._query}/v1/subjects/{subject}/history", parameters, self._bearer)
            page = orjson.loads(answer)
            records += page["records"]
            if page["next"] is None:
                return records
            parameters = {"cursor": page["next"]}

    async def proof(self, event: str) -> bytes:
        """The proof document, as soon as a checkpoint covers the record."""
        return await self._covered(event, "proof")

    async def receipt(self, event: str) -> str:
        """The receipt as a JWS, as soon as a checkpoint covers the record."""
        return (await self._covered(event, "receipt")).decode()

    async def receipt_keys(self) -> bytes:
        """The JWK set that receipts verify under."""
        return await self._get(f"{self._query}/.well-known/jwks.json", {}, {})

    async def _covered(self, event: str, form: str) -> bytes:
        deadline = asyncio.get_running_loop().time() + _SECONDS_FOR_A_CHECKPOINT
        url = f"{self._query}/v1/events/{event}/{form}"
        while True:
            answer = await self._http.get(url, headers=self._bearer)
            if answer.status_code == httpx2.codes.OK:
                return answer.content
            waiting = answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE
            if not waiting or asyncio.get_running_loop().time() > deadline:
                raise SaysoError(f"GET .../{form} answered {answer.status_code} instead of 200: {_problem(answer)}")
            await asyncio.sleep(_RETRY_S)

    async def _get(self, url: str, parameters: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        answer = await self._http.get(url, params=parameters, headers=headers)
        if answer.status_code != httpx2.codes.OK:
            route = url.rpartition("/")[2]
            raise SaysoError(f"GET .../{route} answered {answer.status_code} instead of 200: {_problem(answer)}")
        return answer.content


def _problem(answer: httpx2.Response) -> str:
    """The title and advice of an RFC 9457 problem; they never quote what was sent."""
    try:
        document = orjson.loads(answer.content)
        return f"{document['title']}. {document.get('detail', '')}".strip()
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no problem document came with it"
