"""The OpenAPI description of POST /v1/events, by hand, because the endpoint stands beside the framework.

The schema of the event is generated from schemas.events; the problems are those of schemas.errors.
"""

from typing import Any, Final

from schemas import limits
from schemas.errors import (
    BodyTooLarge,
    EmptyBatch,
    EventTooLarge,
    IdConflict,
    LedgerAway,
    MissingKey,
    OriginNotAllowed,
    Problem,
    ProofNeeded,
    StreamAway,
    TooManyEvents,
    TooManyRequests,
    TypeNotAllowed,
    UnsupportedMediaType,
    WrongKey,
)
from schemas.json_schemas import event_schema
from schemas.rights_errors import problem_types
from services.http import PROBLEM_MEDIA_TYPE

_COMPONENTS: Final = "#/components/schemas/"
_ACCEPTED: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "status"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "status": {"enum": ["accepted", "recorded"]},
        "log": {"type": "string", "description": "Name of the log, once recorded."},
        "index": {"type": "integer", "description": "Place in the log, once recorded."},
    },
}
_RESULT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["position", "status"],
    "properties": {
        "position": {"type": "integer", "description": "Place in the batch, from 0."},
        "id": {"type": "string", "format": "uuid", "description": "Left out where the event had no valid id."},
        "status": {"enum": ["accepted", "recorded", "refused"]},
        "log": {"type": "string"},
        "index": {"type": "integer"},
        "problem": {"$ref": f"{_COMPONENTS}Problem"},
    },
}
_BATCH_RESULT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["events"],
    "properties": {"events": {"type": "array", "items": {"$ref": f"{_COMPONENTS}EventResult"}}},
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "enum": [f"/problems/{problem.slug}" for problem in problem_types()]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to do; docs/errors.md says more."},
        "pointer": {"type": "string", "description": "JSON pointer to a member that the schema knows."},
    },
}


def describe_events(description: dict[str, Any]) -> None:
    """Add the path and its schemas to the description that FastAPI made of the rest."""
    event = event_schema()
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {name: _relinked(schema) for name, schema in event.pop("$defs").items()}
    schemas |= {
        "Event": _relinked({name: value for name, value in event.items() if not name.startswith("$")}),
        "EventAccepted": _ACCEPTED,
        "EventResult": _RESULT,
        "BatchResult": _BATCH_RESULT,
        "Problem": _PROBLEM,
    }
    description["components"].setdefault("securitySchemes", {}).update(
        publishableKey={
            "type": "apiKey",
            "in": "query",
            "name": "key",
            "description": "pk_..., bound to origins; app_... for native apps.",
        },
        serverKey={"type": "http", "scheme": "bearer", "description": "sk_..., in this header only."},
    )
    description["paths"]["/v1/events"] = {"post": _post()}


def _relinked(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            name: value.replace("#/$defs/", _COMPONENTS) if name == "$ref" else _relinked(value)
            for name, value in schema.items()
        }
    return [_relinked(item) for item in schema] if isinstance(schema, list) else schema


def _post() -> dict[str, Any]:
    one = {"schema": {"$ref": f"{_COMPONENTS}Event"}}
    many: dict[str, Any] = {
        "schema": {"type": "array", "items": one["schema"], "minItems": 1, "maxItems": limits.BATCH_EVENTS_MAX}
    }
    return {
        "tags": ["events"],
        "summary": "Post one consent event or a batch",
        "description": (
            f"At most {limits.EVENT_BYTES_MAX // 1024} KiB an event, {limits.BATCH_EVENTS_MAX} events and "
            f"{limits.BODY_BYTES_MAX // 1024} KiB a request. 202 means durable. A batch answers for each event, in its "
            "order; an event that is refused costs the others nothing. A beacon may send text/plain."
        ),
        "security": [{"publishableKey": []}, {"serverKey": []}],
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "schema": {"type": "string", "examples": ["wait=5"]},
                "description": f"wait=N: answer once recorded, within N (at most {limits.WAIT_S_MAX}) seconds.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/cloudevents+json": one,
                "application/json": {"schema": {"oneOf": [one["schema"], many["schema"]]}},
                "application/cloudevents-batch+json": many,
                "application/x-ndjson": {"schema": {"type": "string", "description": "One event a line."}},
                "text/plain": {"schema": {"type": "string", "description": "As application/json, for beacons."}},
            },
        },
        "responses": {
            "201": _answer("Recorded (Prefer: wait)", "EventAccepted"),
            "202": _answer("Durable; of a batch, at least one event", "EventAccepted", "BatchResult"),
            **_problems(
                MissingKey,
                WrongKey,
                OriginNotAllowed,
                TypeNotAllowed,
                ProofNeeded,
                IdConflict,
                BodyTooLarge,
                EventTooLarge,
                TooManyEvents,
                UnsupportedMediaType,
                EmptyBatch,
                TooManyRequests,
                LedgerAway,
                StreamAway,
            ),
        },
    }


def _answer(description: str, *names: str) -> dict[str, Any]:
    schemas = [{"$ref": f"{_COMPONENTS}{name}"} for name in names]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problems(*problems: type[Problem]) -> dict[str, Any]:
    """One response a status; the descriptions name the problems that are about the whole request."""
    by_status: dict[str, list[str]] = {}
    for problem in problems:
        by_status.setdefault(str(problem.status), []).append(problem.slug)
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_COMPONENTS}Problem"}}}
    return {status: {"description": ", ".join(slugs), "content": content} for status, slugs in by_status.items()}
