"""The event model: one CloudEvent 1.0 in JSON, as posted to POST /v1/events (design, sections 4 and 7).

Strict and closed: unknown members are refused, numbers are whole, only consent can be granted. Nothing here is set by
the server; what ingest adds (received_at, words, marks) joins the event in schemas.record.
"""

from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas import limits
from schemas.canonical import INTEGER_MAX
from schemas.event_types import EventType

_RFC3339_UTC = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 UTC time as the schema prints it. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _is_a_time(text: str) -> str:
    parse_time(text)
    return text


def _is_a_network(text: str) -> str:
    network = ip_network(text)
    kept_bits = limits.NETWORK_BITS_KEPT[network.version]
    if int(network.network_address) & ((1 << (network.max_prefixlen - kept_bits)) - 1):
        raise ValueError("a whole address")
    return text


def _is_true(value: bool) -> bool:  # noqa: FBT001 - it is a validator, and this is the value
    if not value:
        raise ValueError("only true")
    return value


# Not Literal[True]: that would also take 1 and 1.0, which equal it in Python, and write them into a record.
OnlyTrue = Annotated[bool, AfterValidator(_is_true), Field(json_schema_extra={"const": True})]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=limits.NAME_CHARS_MAX)]
Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
Time = Annotated[str, Field(pattern=_RFC3339_UTC), AfterValidator(_is_a_time)]
Text = Annotated[str, Field(min_length=1, max_length=limits.TEXT_CHARS_MAX)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Integer = Annotated[int, Field(ge=-INTEGER_MAX, le=INTEGER_MAX)]
IdentifierValue = Annotated[str, Field(min_length=1, max_length=limits.IDENTIFIER_CHARS_MAX)]

# CloudEvents extension attributes that show who may speak for an identifier; never recorded.
VisitorKey = Annotated[str, Field(pattern=r"^vk_[A-Za-z0-9_-]{43}$")]
Capability = Annotated[str, Field(pattern=r"^cap_[A-Za-z0-9_-]+$", max_length=limits.TOKEN_CHARS_MAX)]
Identity = Annotated[str, Field(pattern=r"^id_[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", max_length=limits.TOKEN_CHARS_MAX)]

IdentifierType = Literal["cookie", "installation", "email", "phone", "account"]
# Rising strength (design, section 1): an event belongs to its strongest identifier's subject.
IDENTIFIER_STRENGTH: Final[dict[str, int]] = {"cookie": 0, "installation": 1, "email": 2, "phone": 3, "account": 4}
BROWSER_IDENTIFIERS: Final[frozenset[str]] = frozenset({"cookie", "installation"})

Decision = Literal["granted", "denied", "objected", "not_objected"]
LegalBasis = Literal[
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interest",
]
PERMISSIVE: Final[frozenset[str]] = frozenset({"granted", "not_objected"})


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Identifier(_Closed):
    """One way the controller knows the subject."""

    type: IdentifierType
    value: IdentifierValue


class Subject(_Closed):
    """The data subject, by identifiers of rising strength; left out where a refusal identifies nobody."""

    identifiers: Annotated[list[Identifier], Field(min_length=1, max_length=limits.IDENTIFIERS_MAX)]


class PurposeDecision(_Closed):
    """One answer to one purpose under one legal basis."""

    purpose: Name
    purpose_version: Text | None = None
    decision: Decision
    legal_basis: LegalBasis
    services: Annotated[list[Name], Field(max_length=limits.SERVICES_MAX)] | None = None

    @model_validator(mode="after")
    def _only_consent_is_granted(self) -> Self:
        if self.decision in {"granted", "denied"} and self.legal_basis != "consent":
            raise ValueError("contradiction")
        if self.decision in {"objected", "not_objected"} and self.legal_basis == "consent":
            raise ValueError("contradiction")
        return self


class NoticeShown(_Closed):
    """Which words were put in front of the subject, named by the hash of their content."""

    sha256: Sha256
    language: Language
    # What the visitor would have read; there was no notice in it.
    requested_language: Language | None = None
    notice_id: Name | None = None
    notice_version: Text | None = None
    ui_sha256: Sha256 | None = None
    token: Annotated[str, Field(max_length=limits.TOKEN_CHARS_MAX)] | None = None


class Capture(_Closed):
    """How the act happened on the page, the form or the paper."""

    mechanism: Literal["button", "toggle", "form", "api", "import", "gpc", "script", "paper"]
    element: Literal["banner", "modal", "preference_centre", "placeholder", "form", "none"] | None = None
    action: Literal["accept_all", "reject_all", "save", "dismiss", "withdraw", "confirm"] | None = None
    explicit: bool | None = None
    words: Literal["captured"] | None = None  # an adapter read the words off the screen and hashed them
    # Of an imported event: the file it stood in, and its line there.
    file_sha256: Sha256 | None = None
    file_line: Annotated[int, Field(ge=1, le=INTEGER_MAX)] | None = None


class Signals(_Closed):
    """Signals of the browser or a framework, raw beside what was decided."""

    tcf: Annotated[str, Field(max_length=limits.SIGNAL_CHARS_MAX)] | None = None
    gpp: Annotated[str, Field(max_length=limits.SIGNAL_CHARS_MAX)] | None = None
    gcm: Annotated[dict[Name, Literal["granted", "denied"]], Field(max_length=16)] | None = None
    gpc: OnlyTrue | None = None  # true or absent: absence is no preference
    gpc_honoured: bool | None = None


class Context(_Closed):
    """Circumstances, all optional; erased by themselves when their time is up."""

    page: Text | None = None
    referrer_host: Text | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    device: Literal["desktop", "mobile", "tablet", "tv", "other"] | None = None
    user_agent_family: Text | None = None
    # As 203.0.113.0/24 or 2001:db8:1::/48: a whole address is refused, not cut, so that whoever sends one learns of it.
    ip_truncated: Annotated[Text, AfterValidator(_is_a_network)] | None = None


class Actor(_Closed):
    """Who acted, and how sure the site is of it."""

    entity: Literal["subject", "guardian", "agent", "operator"]
    auth: Literal["none", "capability", "session", "api_key", "eid"] | None = None


class DoubleOptIn(_Closed):
    """When the confirmation was asked for and when it came."""

    requested_at: Time
    confirmed_at: Time | None = None


class Guardian(_Closed):
    """The holder of parental responsibility who authorised a child's consent (GDPR Art. 8)."""

    identifier: Identifier
    authorised_at: Time | None = None


# What a person may ask for (GDPR Art. 15 to 21, and 7(3)).
Right = Literal["access", "rectification", "erasure", "restriction", "portability", "objection", "withdrawal"]


class Age(_Closed):
    """Whether somebody is old enough to agree alone (schemas.ages): over or under, nothing else; unknown is absent."""

    over: bool


class Told(_Closed):
    """How somebody was told of a notice that changed."""

    channel: Literal["email", "banner", "app", "post", "other"]


Channel = Literal["email", "form", "phone", "post", "in_person", "other"]


class Request(_Closed):
    """A data-subject request as it came in (GDPR Art. 15 to 21)."""

    right: Right
    # Somebody reports that a child's data is here (GDPR Art. 8 and 17(1)(f)); it is not the child who asks.
    about: Literal["child"] | None = None
    channel: Channel | None = None
    # The number of a receipt (the event that it is of): finds a visitor whom nothing else names (Art. 11(2)).
    receipt: Uuid | None = None


class Link(_Closed):
    """Whether the weaker identifier belongs to the stronger one from now on, or no longer (sign-in and sign-out)."""

    state: Literal["linked", "ended"]


class Removal(_Closed):
    """What a page deleted when consent was withdrawn, and what it could not: `cookie:Chatra`, `local:history`."""

    deleted: Annotated[list[Text], Field(max_length=limits.REMOVAL_NAMES_MAX)]
    left: Annotated[list[Text], Field(max_length=limits.REMOVAL_NAMES_MAX)]


class EventData(_Closed):
    """The `data` of the CloudEvent."""

    subject: Subject | None = None
    decisions: Annotated[list[PurposeDecision], Field(min_length=1, max_length=limits.DECISIONS_MAX)] | None = None
    notice: NoticeShown | None = None
    capture: Capture | None = None
    signals: Signals | None = None
    context: Context | None = None
    served_event_id: Uuid | None = None
    valid_until: Time | None = None
    jurisdiction: Text | None = None
    regulation: Text | None = None
    consent_model: Literal["opt-in", "opt-out"] | None = None
    actor: Actor | None = None
    double_opt_in: DoubleOptIn | None = None
    guardian: Guardian | None = None
    age: Age | None = None
    told: Told | None = None
    request: Request | None = None
    supersedes: Uuid | None = None
    link: Link | None = None
    removal: Removal | None = None
    ext: Annotated[dict[Name, Text | Integer | bool], Field(max_length=limits.EXT_MEMBERS_MAX)] | None = None


class Event(_Closed):
    """One consent event as a CloudEvent 1.0 in JSON."""

    specversion: Literal["1.0"]
    id: Uuid
    source: Annotated[str, Field(pattern=r"^/sites/[a-z0-9][a-z0-9._-]*$", max_length=limits.NAME_CHARS_MAX + 8)]
    type: EventType
    time: Time
    datacontenttype: Literal["application/json"] | None = None
    dataschema: Text | None = None
    traceparent: Text | None = None
    tracestate: Text | None = None
    visitorkey: VisitorKey | None = None
    capability: Capability | None = None
    identity: Identity | None = None
    data: EventData

    @model_validator(mode="after")
    def _members_fit_the_type(self) -> Self:
        data = self.data
        if self.type in _DECIDING_TYPES and data.decisions is None:
            raise ValueError("contradiction")
        if self.type in _ENDING_TYPES and any(d.decision == "granted" for d in data.decisions or ()):
            raise ValueError("contradiction")
        if self.type == "signal.gpc" and (data.signals is None or data.signals.gpc is None):
            raise ValueError("contradiction")
        if self.type == "identity.linked" and (data.subject is None or len(data.subject.identifiers) < 2):
            raise ValueError("contradiction")
        if self.type == "request.received" and data.request is None:
            raise ValueError("contradiction")
        if self.type in _NAMING_TYPES and data.subject is None:
            raise ValueError("contradiction")
        if (self.type == "age.stated" and data.age is None) or (self.type == "notice.told" and data.notice is None):
            raise ValueError("contradiction")
        if data.actor is not None and data.actor.entity == "guardian" and data.guardian is None:
            raise ValueError("contradiction")
        if self.type == "correction" and (
            data.supersedes is None or data.subject is None or data.decisions is not None
        ):
            raise ValueError("contradiction")
        return self


# Types that need decisions, and those among them that end or withhold consent and so may not hold a grant.
_ENDING_TYPES: Final = frozenset({"consent.refused", "consent.withdrawn", "consent.expired", "consent.invalidated"})
# Types that say something of somebody, and nothing without naming them.
_NAMING_TYPES: Final = frozenset({"account.deleted", "account.restored", "age.stated", "notice.told"})
_DECIDING_TYPES: Final = _ENDING_TYPES | {"consent.given", "consent.renewed", "consent.observed"}

# Attributes that change between retries of one event and are not part of its content (W3C Trace Context).
TRACING_ATTRIBUTES: Final = ("traceparent", "tracestate")
# Attributes that show who may speak for an identifier; a retry may carry another, and none is kept.
PROVING_ATTRIBUTES: Final = ("visitorkey", "capability", "identity")
PASSING_ATTRIBUTES: Final = (*TRACING_ATTRIBUTES, *PROVING_ATTRIBUTES)


def event_json_schema() -> dict[str, Any]:
    """The JSON Schema of one event, as published under schemas/json/."""
    return Event.model_json_schema()
