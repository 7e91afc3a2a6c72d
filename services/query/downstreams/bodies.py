"""What callers send about downstream systems, as closed models."""

import ipaddress
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas.events import Name, Text
from services.query.parameters import PAGE_DEFAULT, PAGE_MAX

URL_CHARS_MAX: Final = 2048
SYSTEM_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
SERVICES_MAX: Final = 500

Told = Literal["triggers", "records", "notices"]


def _is_a_webhook(text: str) -> str:
    """HTTPS anywhere; plain HTTP only to this machine, where nobody listens in."""
    try:
        url = urlsplit(text)
        port_is_fine = url.port is None or url.port > 0
    except ValueError:
        raise ValueError("not an address") from None
    host = url.hostname or ""
    fits = url.scheme == "https" or (url.scheme == "http" and _is_loopback(host))
    if not (fits and host and port_is_fine) or url.username is not None or url.password is not None or url.fragment:
        raise ValueError("https://host/path without a name, password or fragment; http only to a loopback address")
    if not text.isascii() or any(c.isspace() for c in text):
        raise ValueError("not an address")
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DownstreamBody(_Closed):
    """A system that holds data of people, and how it is told."""

    kind: Annotated[
        Literal["kafka", "webhook", "task"],
        Field(description="Topic sayso.triggers.v1, a signed webhook, or a task for the controller's own people."),
    ]
    tells: Annotated[list[Told], Field(min_length=1, max_length=3, description="What it is told of.")]
    services: Annotated[
        list[Name],
        Field(max_length=SERVICES_MAX, description="The services of the catalogue whose data it holds; empty is all."),
    ] = []
    url: (
        Annotated[
            str,
            Field(max_length=URL_CHARS_MAX, description="Of a webhook. Redirects are not followed."),
            AfterValidator(_is_a_webhook),
        ]
        | None
    ) = None
    sealed_to: Annotated[
        dict[str, Any] | None,
        Field(
            description="Public JWK (EC, or X25519/X448) that triggers are sealed to (JWE, ECDH-ES+A256KW, A256GCM)."
        ),
    ] = None
    instructions: Annotated[Text | None, Field(description="What a human has to do there; names nobody.")] = None
    answer_days: Annotated[int, Field(ge=1, le=365, description="Days it has to answer a trigger.")] = 30

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if len(set(self.tells)) != len(self.tells):
            raise ValueError("each once")
        if self.kind != "webhook" and self.tells != ["triggers"]:
            raise ValueError("records and notices go to webhooks; records also stand on sayso.records.v1")
        if (self.kind == "webhook") != (self.url is not None):
            raise ValueError("a webhook has a url, and nothing else has one")
        if (self.kind != "task" and "triggers" in self.tells) != (self.sealed_to is not None):
            raise ValueError("triggers of a machine are sealed to its key; nothing else is")
        return self


class TriggersParameters(_Closed):
    state: Annotated[
        Literal["open", "overdue", "answered"] | None, Field(description="Only those in this state; all if left out.")
    ] = None
    after: Annotated[UUID, Field(description="`next` of the page before.")] = UUID(int=0)
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description="Triggers a page at most.")] = PAGE_DEFAULT


class TasksParameters(_Closed):
    after: Annotated[UUID, Field(description="`next` of the page before.")] = UUID(int=0)
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description="Tasks a page at most.")] = PAGE_DEFAULT


class DeliveriesParameters(_Closed):
    dead: Annotated[bool, Field(description="Those given up; else those on their way.")] = False
    after: Annotated[UUID, Field(description="`next` of the page before.")] = UUID(int=0)
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description="Deliveries a page at most.")] = PAGE_DEFAULT
