"""What an export for a regulator's case leaves out besides what its grant does."""

from uuid import uuid4

from schemas.exports import ExportBody
from services.query.exports.selection import Scope, scope_of

NO_LIMITS = {"subjects": None, "purposes": None, "records_from": None, "records_until": None}


def body(of: object) -> ExportBody:
    return ExportBody.model_validate({"of": of, "why": "R 12/26", "format": "ndjson"})


def test_what_another_authority_ordered_in_confidence_is_not_in_a_cases_export() -> None:
    case = uuid4()
    scope = scope_of(body({"case": str(case)}), NO_LIMITS)  # type: ignore[arg-type]  # the columns of a row
    told, hidden = ({"type": "hold.placed", "hold": {"confidential": secret}} for secret in (False, True))
    own = {"type": "hold.placed", "hold": {"confidential": True, "grant": str(case)}}
    for read in (scope, Scope.of_json(scope.json())):
        assert [read.holds(what) for what in (told, hidden, own)] == [True, False, True]
    # The controller's own people look at everything.
    period = {"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
    inside = {**hidden, "received_at": "2026-05-01T00:00:00.000000Z"}
    assert scope_of(body(period), None).holds(inside)
