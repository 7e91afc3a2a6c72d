"""Topic names, message keys and headers, and the reasons a message can be set aside for (design, section 3).

Kafka carries CloudEvents 1.0 in binary mode: in clear travel ce_id, ce_source, ce_specversion and one constant ce_type.
"""

from enum import StrEnum
from typing import Final

EVENTS_TOPIC: Final = "sayso.events.v1"
RECORDS_TOPIC: Final = "sayso.records.v1"
TRIGGERS_TOPIC: Final = "sayso.triggers.v1"

HEADER_ID: Final = "ce_id"
HEADER_SOURCE: Final = "ce_source"
HEADER_SPECVERSION: Final = "ce_specversion"
HEADER_TYPE: Final = "ce_type"
HEADER_EPOCH: Final = "sayso_epoch"

SPECVERSION: Final = "1.0"
SEALED_TYPE: Final = "sayso.sealed.v1"
SOURCE_PREFIX: Final = "/sites/"


class DeadLetterReason(StrEnum):
    """Why a message could not be recorded; stored, counted and shown by exactly these words."""

    HEADERS_INVALID = "headers-invalid"
    EPOCH_INVALID = "epoch-invalid"
    PUBLISHER_UNKNOWN = "publisher-unknown"
    SEALING_KEY_UNKNOWN = "sealing-key-unknown"
    SEAL_BROKEN = "seal-broken"
    PARTS_INVALID = "parts-invalid"
    TYPE_NOT_ALLOWED = "type-not-allowed"
    LOG_UNKNOWN = "log-unknown"
    SITE_UNKNOWN = "site-unknown"
    ID_CONFLICT = "id-conflict"
    # Counted, never kept: nothing of an erased controller is.
    CONTROLLER_ERASED = "controller-erased"


def source_of(site: str) -> str:
    """The CloudEvents source of a site."""
    return SOURCE_PREFIX + site
