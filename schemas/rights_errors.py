"""Problems of those who ask for and act on rights: sign-in, second persons, requests, holds, triggers, exports.

The tree is that of schemas.errors; docs/errors.md lists both.
"""

from schemas.errors import Problem


class SessionOver(Problem):
    slug, status, title = "session-over", 401, "The session is over, or the browser shows none"
    advice = "Sign in again at /v1/sign-in; a session ends after an hour without use, after 12 hours, and on sign-out."


class ForgeryGuardMissing(Problem):
    slug, status, title = "forgery-guard-missing", 403, "Nothing shows that a page of ours sent this"
    advice = (
        "Send the session's `csrf` from GET /v1/session in the header x-sayso-csrf, from a page of the same origin."
    )


class SignInFailed(Problem):
    slug, status, title = "sign-in-failed", 403, "The sign-in was not completed"
    advice = "Begin again at /v1/sign-in with this browser; one sign-in at a time, and within ten minutes."


class NotAmongPeople(Problem):
    slug, status, title = "not-among-people", 403, "Whoever signed in is not one of this controller's people"
    advice = "Ask the controller's administrator for an invitation, and open it before signing in."


class TriggerAnswered(Problem):
    slug, status, title = "trigger-answered", 409, "The trigger was answered otherwise before"
    advice = "The first answer counts; read it at GET /v1/triggers, and correct what it says in a note of your own."


class SecondPersonNeeded(Problem):
    slug, status, title = "second-person-needed", 409, "This needs two people"
    advice = "Another person must agree, with a key or a sign-in of their own."


class ApprovalDecided(Problem):
    slug, status, title = "approval-decided", 409, "This was refused, or done, before"
    advice = "Look at it with GET /v1/approvals; ask anew for what is still needed."


class HoldNotStanding(Problem):
    slug, status, title = "hold-not-standing", 409, "The hold does not stand any more"
    advice = "It was released or has expired; place a new one if the ground is still there."


class TooManyErasures(Problem):
    slug, status, title = "too-many-erasures", 409, "One person alone asked for too many erasures within a day"
    advice = "Ask for them together with POST /v1/erasures: a second person approves, and they begin after a delay."


class RequestStepNotPossible(Problem):
    slug, status, title = "request-step-not-possible", 409, "The request cannot take this step where it stands"
    advice = (
        "Look at the request again: somebody may have been faster. docs/requests.md says which step is possible when."
    )


class RefusalNotStated(Problem):
    slug, status, title = "refusal-not-stated", 409, "A refusal must name the authority and the remedy"
    advice = "An administrator states `authority` and `remedy` with PUT /v1/terms first (GDPR Art. 12(4))."


class SignInNotConfigured(Problem):
    slug, status, title = "sign-in-not-configured", 409, "This service knows no OpenID provider"
    advice = "The operator sets SAYSO_OIDC_ISSUER and what belongs to it (docs/access.md); until then, use access keys."


class AlreadyAmongPeople(Problem):
    slug, status, title = "already-among-people", 409, "Whoever signed in is one of this controller's people already"
    advice = "Sign in without the invitation; for another role, the administrator removes the person and invites again."


class LookNotRecorded(Problem):
    slug, status, title = "look-not-recorded", 503, "Nobody could be told that you look at personal data"
    advice = "Nothing is shown that the access log does not say; ask again after Retry-After, or see `sayso doctor`."


class SignInAway(Problem):
    slug, status, title = "sign-in-away", 503, "The OpenID provider does not answer as it should"
    advice = "Try again after Retry-After; access keys work meanwhile, and so do sessions that have begun."


class ExportsNotSetUp(Problem):
    slug, status, title = "exports-not-set-up", 503, "This service has nowhere to write exports to"
    advice = "The operator sets SAYSO_EXPORT_DIR (docs/exports.md); nothing was asked for."


class ExportExtraMissing(Problem):
    slug, status, title = "export-extra-missing", 409, "What this export needs is not installed here"
    advice = "The operator installs the extra `exports`; CSV, NDJSON and bundles in clear need nothing more."


class ExportStepNotPossible(Problem):
    slug, status, title = "export-step-not-possible", 409, "The export is not in a state for this"
    advice = "Ask for its state: files and links are there when it is done, and only what has failed is resumed."


def problem_types() -> tuple[type[Problem], ...]:
    """Every problem type, those of schemas.errors first; docs/errors.md lists exactly these."""
    return tuple(Problem.__subclasses__())
