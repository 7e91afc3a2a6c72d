"""The one error tree. Messages say what to do next and never hold a rejected value or personal data.

SaysoError
├── ProofError               a proof, record or bundle that does not verify
│   ├── CheckpointError      a note or checkpoint that is malformed or not signed by a known key
│   └── LogForked            two signed checkpoints of one log that no single history can hold
├── SealError                a stream message that cannot be opened or may not be recorded (has a reason)
├── StreamError
│   ├── StreamUnavailable    no transport made the message durable in time
│   ├── PositionMoved        somebody else recorded this batch: seek again
│   └── PositionInvalid      a position out of range or of another cluster: an operator must decide
├── MirrorAway               the place a log is mirrored to does not answer
├── ExportStopped            an export cannot go on: its message is what its asker is told
├── LedgerHalted             the database contradicts what was signed: neither record nor sign
├── KeyProviderAway          whoever holds the root key does not answer: try again
├── ConfigurationError       refuse to start
└── Problem                  answered over HTTP as RFC 9457; each leaf class is one problem type (docs/errors.md)
"""

from typing import ClassVar


class SaysoError(Exception):
    """Base of every error that Sayso raises on purpose."""


class ProofError(SaysoError):
    """A proof or a record does not verify."""


class CheckpointError(ProofError):
    """A signed note or checkpoint is malformed or carries no valid signature of a known key."""


class LogForked(ProofError):
    """One log has signed two checkpoints that contradict each other: both together are the evidence."""


class SealError(SaysoError):
    """A stream message cannot be opened; `reason` is the dead-letter reason (schemas.topics.DeadLetterReason)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"message goes to the dead letters: {reason}")
        self.reason = reason


class StreamError(SaysoError):
    """Base of what a transport can fail with."""


class StreamUnavailable(StreamError):
    """No transport made the message durable in time; the sender must retry with the same event id."""


class PositionMoved(StreamError):
    """The stored position is not where this batch began: another ledger recorded it. Seek again."""


class PositionInvalid(StreamError):
    """The stored position is out of range or belongs to another cluster or topic; see docs/operations.md."""


class MirrorAway(SaysoError):
    """The place a log is mirrored to does not answer; what it shows stays as it is."""


class ExportStopped(SaysoError):
    """An export cannot go on; the message says why and what to do, and is shown with the job."""


class LedgerHalted(SaysoError):
    """The database lacks what was already signed (a restored dump, a lagging replica); see docs/operations.md."""


class KeyProviderAway(SaysoError):
    """The key provider does not answer in time, or says that it cannot now; see docs/operations.md, Change keys."""


class ConfigurationError(SaysoError):
    """A setting, key or database is missing or unsafe; the process refuses to start."""


class Problem(SaysoError):
    """Base of RFC 9457 problems. `pointer` is a JSON pointer of fields known to the schema, never of posted names."""

    slug: ClassVar[str] = ""
    status: ClassVar[int] = 500
    title: ClassVar[str] = ""
    advice: ClassVar[str] = ""

    def __init__(self, pointer: str | None = None, *, retry_after_s: int | None = None) -> None:
        super().__init__(f"{self.title}. {self.advice}")
        self.pointer = pointer
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, object]:
        """The members of the problem document, `type` relative to the documentation root."""
        members: dict[str, object] = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.advice,
        }
        if self.pointer is not None:
            members["pointer"] = self.pointer
        return members


# --- the body cannot be read at all ---


class MalformedJson(Problem):
    slug, status, title = "malformed-json", 422, "The body is not valid JSON"
    advice = (
        "Send one JSON object, a JSON array, or one JSON object a line (NDJSON). Nothing of this part was accepted."
    )


class NotUtf8(Problem):
    slug, status, title = "not-utf8", 422, "The body is not valid UTF-8"
    advice = "Encode the body as UTF-8 without a byte order mark. Nothing of this part was accepted."


class DuplicateKey(Problem):
    slug, status, title = "duplicate-key", 422, "A JSON object names the same member twice"
    advice = "Send every member once: readers disagree on which of two wins, so it would prove nothing."


class TooDeep(Problem):
    slug, status, title = "too-deep", 422, "The JSON is nested too deeply"
    advice = "Send at most 16 levels; a consent event needs six."


class FloatNotAllowed(Problem):
    slug, status, title = "float-not-allowed", 422, "A number has a fraction or an exponent"
    advice = "Send whole numbers between -(2^53-1) and 2^53-1; floats have no single canonical form."


class ControlCharacter(Problem):
    slug, status, title = "control-character", 422, "A string holds a control character"
    advice = "Remove characters U+0000 to U+001F and U+007F to U+009F from every string."


class EventTooLarge(Problem):
    slug, status, title = "event-too-large", 413, "The event is larger than 64 KiB"
    advice = "Leave out optional context, or keep the raw signal strings short; this event was not accepted."


class BodyTooLarge(Problem):
    slug, status, title = "body-too-large", 413, "The request body is larger than 1 MiB, of a bulk check than 256 MiB"
    advice = "Split the batch into smaller requests; nothing was accepted."


class TooManyEvents(Problem):
    slug, status, title = "too-many-events", 413, "The batch holds more than 500 events"
    advice = "Send at most 500 events a request; nothing was accepted."


class EmptyBatch(Problem):
    slug, status, title = "empty-batch", 422, "The batch holds no event"
    advice = "Send at least one event."


class UnsupportedMediaType(Problem):
    slug, status, title = "unsupported-media-type", 415, "The content type is not one this route reads"
    advice = (
        "Use application/cloudevents+json, application/json, application/cloudevents-batch+json, "
        "application/x-ndjson, or text/plain for beacons."
    )


# --- the event is not one we can take ---


class UnknownField(Problem):
    slug, status, title = "unknown-field", 422, "The event has a member that the schema does not know"
    advice = "Remove it, or put it under data.ext; the pointer names the object that holds it."


class MissingField(Problem):
    slug, status, title = "missing-field", 422, "A required member is missing"
    advice = "Add the member that the pointer names."


class WrongType(Problem):
    slug, status, title = "wrong-type", 422, "A member has the wrong JSON type"
    advice = "Send the type that the schema gives for the member that the pointer names."


class InvalidValue(Problem):
    slug, status, title = "invalid-value", 422, "A member has a value that the schema does not allow"
    advice = "See the JSON Schema of the event for the member that the pointer names."


class ContradictoryEvent(Problem):
    slug, status, title = "contradictory-event", 422, "The members of the event contradict its type"
    advice = "Check the decisions against the event type: the table in docs/errors.md lists what each type needs."


class ActTooOld(Problem):
    slug, status, title = "act-too-old", 422, "The event holds a grant from too long ago"
    advice = "Ask the visitor again; refusals, withdrawals and objections are taken whatever their age."


class WrongSource(Problem):
    slug, status, title = "wrong-source", 422, "The event's source is not the site of the key"
    advice = "Set source to /sites/ followed by the name of the site this key belongs to."


class UnknownPurpose(Problem):
    slug, status, title = "unknown-purpose", 422, "A purpose stands in no notice of this site"
    advice = "Publish a notice that names the purpose, or correct its spelling; then post the event again."


class UnknownService(Problem):
    slug, status, title = "unknown-service", 422, "A service is in no notice of this site nor in the catalogue"
    advice = "Publish a notice that names the service, or correct its spelling; then post the event again."


# --- the caller may not ---


class MissingKey(Problem):
    slug, status, title = "missing-key", 401, "The request carries no key"
    advice = "Add ?key=pk_... for a browser, ?key=app_... for an app, or Authorization: Bearer sk_... for a server."


class WrongKey(Problem):
    slug, status, title = "wrong-key", 401, "The key is not known or was revoked"
    advice = "Check the key, or make a new one with: sayso key create. For that of a grant ask the DPO."


class OriginNotAllowed(Problem):
    slug, status, title = "origin-not-allowed", 403, "The origin of this page may not use this key"
    advice = "Add the origin to the site with: sayso site allow-origin. An app that sends none needs a key of kind app."


class TypeNotAllowed(Problem):
    slug, status, title = "type-not-allowed", 403, "This caller may not post events of this type"
    advice = "Post it with a server key if the type allows it; records of the service itself cannot be posted."


class ProofNeeded(Problem):
    slug, status, title = "proof-needed", 403, "Nothing shows that these identifiers belong together"
    advice = (
        "Send the visitor key or the capability of the browser, and from a page also the identity that your server "
        "signed for this visitor (docs/visitors.md)."
    )


class CapabilityNotValid(Problem):
    slug, status, title = "capability-not-valid", 401, "The capability is not one of ours, or has run out"
    advice = "Use the capability from the answer to this browser's own act; the next act brings a new one."


class TooManyRequests(Problem):
    slug, status, title = "too-many-requests", 429, "This network has sent too much in a short time"
    advice = "Nothing of it was accepted; send the same events with the same ids again after Retry-After."


class RoleNotAllowed(Problem):
    slug, status, title = "role-not-allowed", 403, "The key's role does not open this"
    advice = "Each route names its roles. If yours should be another, ask the controller's administrator for a key."


# --- the state of things ---


class IdConflict(Problem):
    slug, status, title = "id-conflict", 409, "This event id was already used with other content"
    advice = "Use a new UUID for new content; the copy is kept among the dead letters of the site for 30 days."


class NotFound(Problem):
    slug, status, title = "not-found", 404, "There is nothing here that this key may see"
    advice = "Check the path; what is another controller's, or outside a grant, looks the same as what does not exist."


class SizeNotPublished(Problem):
    slug, status, title = "size-not-published", 404, "The log has not published this size"
    advice = "Ask for sizes up to that of the log's last checkpoint, or ask again in a second."


class InvalidParameter(Problem):
    slug, status, title = "invalid-parameter", 422, "A query parameter or body member is not valid"
    advice = "Check the parameter that the pointer names against the API description at /docs."


class LinkNotValid(Problem):
    slug, status, title = "link-not-valid", 404, "The link is not one of ours, was changed, or has run out"
    advice = "Open the link as it stands in the message, or ask for a new one."


class LinksNotConfigured(Problem):
    slug, status, title = "links-not-configured", 409, "This service does not know its own public address"
    advice = "The operator sets SAYSO_INGEST_PUBLIC_URL to where ingest is reached from outside, over https."


class NoticeNotValid(Problem):
    slug, status, title = "notice-not-valid", 422, "The notice cannot be published as it is"
    advice = "Correct the member that the pointer names; `sayso notice publish` says the same with more words."


class ReceiptIncomplete(Problem):
    slug, status, title = "receipt-incomplete", 409, "Nobody has stated a value that a receipt must hold"
    advice = (
        "The pointer names the field. State it with: sayso controller describe; where it is the notice itself, tie "
        "the hash that was shown to a published one with: sayso notice match."
    )


class NoConsentStated(Problem):
    slug, status, title = "no-consent-stated", 409, "The event states no consent that this receipt can carry"
    advice = (
        "ISO 27560 receipts are of decisions about consent, Kantara's of consents given alone; ask for the proof of "
        "any other event."
    )


class NotPublishedYet(Problem):
    slug, status, title = "not-published-yet", 503, "The record is not under a signed checkpoint yet"
    advice = "Ask again in a second."


class StreamAway(Problem):
    slug, status, title = "stream-away", 503, "The event could not be made durable"
    advice = "Nothing was accepted; send the same event with the same id again after Retry-After."


class LedgerAway(Problem):
    slug, status, title = "database-away", 503, "The database does not answer"
    advice = "Ask again after Retry-After."


class KeysAway(Problem):
    slug, status, title = "keys-away", 503, "The keys that open records cannot be used"
    advice = "Ask again after Retry-After; the operator finds the cause in the log of this service."
