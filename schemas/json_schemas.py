"""The published JSON Schemas under schemas/json/, generated from the models: `python -m schemas.json_schemas`.

A test compares the files with what this makes, so that neither can change without the other.
"""

from pathlib import Path
from typing import Any, Final

import orjson

from schemas.catalogue import Service
from schemas.events import event_json_schema
from schemas.notices import NoticeContent
from schemas.parties import ControllerDetails
from schemas.receipts_27560 import Receipt27560
from schemas.receipts_kantara import ReceiptKantara

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DIRECTORY: Final = Path(__file__).parent / "json"


def event_schema() -> dict[str, Any]:
    """The JSON Schema of one posted event."""
    return _published("event", event_json_schema())


def notice_schema() -> dict[str, Any]:
    """The JSON Schema of a notice's content."""
    return _published("notice", NoticeContent.model_json_schema())


def controller_schema() -> dict[str, Any]:
    """The JSON Schema of what `sayso controller describe` reads."""
    return _published("controller", ControllerDetails.model_json_schema())


def service_schema() -> dict[str, Any]:
    """The JSON Schema of one service of the catalogue."""
    return _published("service", Service.model_json_schema())


def receipt_27560_schema() -> dict[str, Any]:
    """The JSON Schema of the claims of a receipt in the shape of ISO/IEC TS 27560."""
    return _published("receipt-27560", Receipt27560.model_json_schema())


def receipt_kantara_schema() -> dict[str, Any]:
    """The JSON Schema of the claims of a Kantara receipt."""
    return _published("receipt-kantara", ReceiptKantara.model_json_schema())


def _published(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": f"/schemas/{name}.v1.json", **_absent_not_null(schema)}


def _absent_not_null(node: Any) -> Any:
    """Drop null alternatives and defaults: None says in a model that a member is absent; in JSON only absence does."""
    if isinstance(node, list):
        return [_absent_not_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _absent_not_null(value) for name, value in node.items() if not (name == "default" and value is None)}
    alternatives = [option for option in kept.pop("anyOf", []) if option != {"type": "null"}]
    if len(alternatives) == 1:
        return {**alternatives[0], **kept}
    return {"anyOf": alternatives, **kept} if alternatives else kept


def generated() -> dict[Path, bytes]:
    """Every file of schemas/json/ with the bytes it must have."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {
        DIRECTORY / "event.v1.json": orjson.dumps(event_schema(), option=options),
        DIRECTORY / "notice.v1.json": orjson.dumps(notice_schema(), option=options),
        DIRECTORY / "controller.v1.json": orjson.dumps(controller_schema(), option=options),
        DIRECTORY / "service.v1.json": orjson.dumps(service_schema(), option=options),
        DIRECTORY / "receipt-27560.v1.json": orjson.dumps(receipt_27560_schema(), option=options),
        DIRECTORY / "receipt-kantara.v1.json": orjson.dumps(receipt_kantara_schema(), option=options),
    }


def write() -> None:
    """Write every file."""
    DIRECTORY.mkdir(exist_ok=True)
    for path, content in generated().items():
        path.write_bytes(content)


if __name__ == "__main__":
    write()
