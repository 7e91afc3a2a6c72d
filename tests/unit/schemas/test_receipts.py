"""Receipts in both forms: every mandatory field, where each value comes from, and that no altered receipt verifies."""

import hmac
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from pydantic import BaseModel

from schemas.errors import InvalidValue, NoConsentStated, ProofError, ReceiptIncomplete
from schemas.json_schemas import DIRECTORY
from schemas.notices import NoticeContent, notice_bytes, notice_hash
from schemas.parties import details_bytes
from schemas.receipts_27560 import (
    ConsentEvent,
    Party,
    PiiInformation,
    Processing,
    Receipt27560,
    ReceiptPurpose,
    receipt_27560,
)
from schemas.receipts_kantara import (
    KantaraAddress,
    KantaraController,
    KantaraPurpose,
    KantaraService,
    ReceiptKantara,
    receipt_kantara,
)
from schemas.receipts_verify import RECEIPT_CHARS_MAX, consent_states, read_jwks, verify_receipt
from schemas.steps import Step
from schemas.verify import main
from tests.support.deployment import consent_event
from tests.support.receipts import (
    KEYS,
    KID,
    LOG_KEY,
    ORIGIN,
    RECEIPT_KEY,
    SUBJECT,
    VKEY,
    base64url,
    proven,
    shown_notice,
    signed,
    stated,
)
from tests.support.rows import controller_details, notice_content

pytestmark = pytest.mark.unit

GRANT = {"purpose": "chat-history", "decision": "granted", "legal_basis": "consent"}
DENIAL = {"purpose": "chat-history", "decision": "denied", "legal_basis": "consent"}
OBJECTION = {"purpose": "chat-session", "decision": "objected", "legal_basis": "legitimate_interest"}

# Field -> mandatory, as the DPV guide's table of ISO/IEC TS 27560 has it, by the section that it stands in here.
ISO_FIELDS: dict[type[BaseModel], str] = {
    Receipt27560: "schema_version! record_id! receipt_id! pii_principal_id!",
    Processing: "privacy_notice! language! pii_controllers! collection_method jurisdiction! withdrawal_method! "
    "privacy_rights authority_party",
    ReceiptPurpose: "purpose! purpose_type lawful_basis pii_information! storage_locations! retention_period! service "
    "recipient_third_parties!",
    PiiInformation: "pii_type! pii_optional sensitive_pii_category special_pii_category",
    Party: "party_id! party_address! party_email party_url party_phone party_name! party_role party_contact! "
    "party_type!",
    ConsentEvent: "event_time! validity_duration! entity_id! event_type! event_state!",
}
KANTARA_FIELDS: dict[type[BaseModel], str] = {
    ReceiptKantara: "version! jurisdiction! consentTimestamp! collectionMethod! consentReceiptID! language "
    "piiPrincipalId! piiControllers! policyUrl! services! sensitive! spiCat",
    KantaraController: "piiController! contact! address! email! phone! piiControllerUrl",
    KantaraAddress: "streetAddress! addressCountry! addressLocality! addressRegion postOfficeBoxNumber postalCode",
    KantaraService: "service! purposes!",
    KantaraPurpose: "purpose purposeCategory! consentType! piiCategory! termination! thirdPartyDisclosure! "
    "thirdPartyName",
}


def claims_of(receipt: BaseModel) -> dict[str, Any]:
    return receipt.model_dump(by_alias=True, exclude_none=True)


def iso(**changes: Any) -> dict[str, Any]:
    return claims_of(receipt_27560(stated(**changes)))


def kantara(**changes: Any) -> dict[str, Any]:
    return claims_of(receipt_kantara(stated(**changes)))


# --- the forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (model, field)
        for table in (ISO_FIELDS, KANTARA_FIELDS)
        for model, names in table.items()
        for field in names.split()
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_model_asks_for_what_the_standard_does(model: type[BaseModel], field: str) -> None:
    schema = model.model_json_schema(by_alias=True)
    assert field.rstrip("!") in schema["properties"]
    if field.endswith("!"):
        assert field.rstrip("!") in schema["required"]


@pytest.mark.parametrize(("form", "made"), [("receipt-27560", iso), ("receipt-kantara", kantara)])
def test_a_receipt_meets_its_published_schema(form: str, made: Any) -> None:
    schema = json.loads((DIRECTORY / f"{form}.v1.json").read_bytes())
    claims = made()
    jsonschema.Draft202012Validator(schema).validate(claims)
    for name in schema["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate({n: v for n, v in claims.items() if n != name})


def test_what_an_iso_receipt_says() -> None:
    claims = iso()
    assert (claims["pii_principal_id"], claims["processing"]["language"]) == (SUBJECT, "fr")
    history, proactive = claims["processing"]["purposes"]
    assert history["purpose"] == "Title of chat-history"
    assert history["recipient_third_parties"] == ["Brantio LLC (US)"]
    assert history["storage_locations"] == ["US, Amazon Web Services"]
    assert history["service"] == ["Chatra"]
    assert history["stated_by"] == {
        "pii_information": "controller",
        "storage_locations": "catalogue",
        "retention_period": "controller",
        "recipient_third_parties": "catalogue",
    }
    given, refused = claims["events"]
    assert (given["event_state"], refused["event_state"]) == ("dpv:ConsentGiven", "dpv:ConsentRefused")
    assert (given["validity_duration"], refused["validity_duration"]) == ("P180D", "dpv:UntilEventDuration")
    assert {event["entity_id"] for event in claims["events"]} == {SUBJECT}
    assert claims["processing"]["pii_controllers"] == [claims["parties"][0]["party_id"]]
    assert proactive["purpose_id"] == "chat-proactive"


def test_the_notice_comes_first() -> None:
    purposes = [
        {
            **shown_notice()["purposes"][0],
            "personal_data": [{"type": "Health", "special_category": "dpv:HealthData", "optional": True}],
            "retention": "P30D",
            "recipients": [],
            "storage_locations": ["Lyon"],
            "purpose_type": "dpv:ServiceProvision",
        }
    ]
    claims = iso(notice=shown_notice(jurisdiction="CH") | {"purposes": purposes}, decisions=[GRANT])
    (purpose,) = claims["processing"]["purposes"]
    assert purpose["pii_information"] == [
        {"pii_type": "Health", "pii_optional": True, "special_pii_category": "dpv:HealthData"}
    ]
    assert (purpose["retention_period"], purpose["recipient_third_parties"]) == ("P30D", [])
    assert (purpose["storage_locations"], purpose["purpose_type"]) == (["Lyon"], "dpv:ServiceProvision")
    assert set(purpose["stated_by"].values()) == {"notice"}
    assert claims["processing"]["jurisdiction"] == "CH"
    assert iso(jurisdiction="AT")["processing"]["jurisdiction"] == "AT"


def test_the_catalogue_speaks_only_for_services_it_has() -> None:
    no_purposes = controller_details(purposes={})
    listed = iso(details=no_purposes)["processing"]["purposes"][0]
    assert listed["stated_by"]["pii_information"] == "catalogue"
    assert {"pii_type": "Nom et adresse électronique"} in listed["pii_information"]
    unknown = GRANT | {"services": ["chatra", "unheard-of"]}
    with pytest.raises(ReceiptIncomplete) as refused:
        iso(details=no_purposes, decisions=[unknown])
    assert refused.value.pointer == "/processing/purposes/0/pii_information"


def test_no_service_is_no_recipient() -> None:
    asked = shown_notice()["purposes"][0] | {"services": []}
    (purpose,) = iso(notice=shown_notice() | {"purposes": [asked]}, decisions=[GRANT])["processing"]["purposes"]
    assert purpose["recipient_third_parties"] == []
    assert purpose["stated_by"]["recipient_third_parties"] == "notice"
    assert (purpose["storage_locations"], purpose["stated_by"]["storage_locations"]) == (["Lille, FR"], "controller")


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({"type": "consent.renewed", "decisions": [GRANT]}, ["dpv:RenewedConsentGiven"]),
        ({"type": "consent.refused", "decisions": [DENIAL]}, ["dpv:ConsentRefused"]),
        ({"type": "consent.withdrawn", "decisions": [DENIAL]}, ["dpv:ConsentWithdrawn"]),
        ({"type": "consent.expired", "decisions": [DENIAL]}, ["dpv:ConsentExpired"]),
        ({"type": "consent.invalidated", "decisions": [DENIAL]}, ["dpv:ConsentInvalidated"]),
        ({"decisions": [OBJECTION, GRANT]}, ["dpv:ConsentGiven"]),
        ({"decisions": [GRANT], "double_opt_in": {"requested_at": "2026-11-01T09:00:00Z"}}, ["dpv:ConsentRequested"]),
        (
            {
                "decisions": [GRANT],
                "double_opt_in": {"requested_at": "2026-11-01T09:00:00Z", "confirmed_at": "2026-11-01T09:05:00Z"},
            },
            ["dpv:ConsentGiven"],
        ),
    ],
)
def test_states(changes: dict[str, Any], states: list[str]) -> None:
    claims = iso(**changes)
    assert [event["event_state"] for event in claims["events"]] == states
    verify_receipt(signed(claims), KEYS, vkey=VKEY)
    assert [state for _, state in consent_states(stated(**changes).what)] == states


@pytest.mark.parametrize(
    ("changes", "kind", "kantara_type"),
    [
        ({"capture": {"mechanism": "script", "explicit": True}}, "dpv:ExplicitlyExpressedConsent", "EXPLICIT"),
        ({"capture": {"mechanism": "toggle"}}, "dpv:ExpressedConsent", "EXPLICIT"),
        ({"capture": {"mechanism": "button"}, "consent_model": "opt-out"}, "dpv:ImpliedConsent", "IMPLICIT"),
        ({"capture": {"mechanism": "api"}}, "dpv:Consent", None),
    ],
)
def test_the_kind_of_consent_is_what_the_capture_shows(
    changes: dict[str, Any], kind: str, kantara_type: str | None
) -> None:
    assert iso(**changes)["events"][0]["event_type"] == kind
    if kantara_type is None:
        with pytest.raises(ReceiptIncomplete) as refused:
            kantara(**changes)
        assert refused.value.pointer == "/services/0/purposes/0/consentType"
    else:
        assert kantara(**changes)["services"][0]["purposes"][0]["consentType"] == kantara_type


@pytest.mark.parametrize(
    ("changes", "validity"),
    [
        ({}, "P180D"),
        ({"valid_until": "2026-12-01T00:00:00Z"}, "2026-11-01T09:00:00Z/2026-12-01T00:00:00Z"),
        ({"valid_until": "2036-12-01T00:00:00Z"}, "P180D"),
    ],
)
def test_validity_is_the_earlier_end(changes: dict[str, Any], validity: str) -> None:
    assert iso(**changes)["events"][0]["validity_duration"] == validity


@pytest.mark.parametrize(
    ("changes", "entity"),
    [
        ({"actor": {"entity": "guardian"}}, f"guardian of {SUBJECT}"),
        ({"actor": {"entity": "operator"}}, "RCS Lille 000 000 000"),
        ({"type": "consent.expired", "decisions": [DENIAL]}, "RCS Lille 000 000 000"),
    ],
)
def test_who_acted(changes: dict[str, Any], entity: str) -> None:
    assert iso(**changes)["events"][0]["entity_id"] == entity


def test_a_kantara_receipt_states_consents_given_alone() -> None:
    claims = kantara()
    (service,) = claims["services"]
    (purpose,) = service["purposes"]
    assert purpose["purposeCategory"] == ["chat-history", "dpv:CustomerCare"]
    assert (purpose["thirdPartyDisclosure"], purpose["thirdPartyName"]) == (True, "Brantio LLC (US)")
    assert (claims["consentTimestamp"], claims["collectionMethod"]) == (1793523600, "button, banner, save")
    assert (claims["sensitive"], claims["language"], "spiCat" in claims) == (False, "fr", False)
    for changes in ({"type": "consent.withdrawn", "decisions": [DENIAL]}, {"decisions": [OBJECTION]}):
        with pytest.raises(NoConsentStated):
            kantara(**changes)


def test_sensitive_data_is_what_somebody_calls_so() -> None:
    health = {"personal_data": [{"type": "Health", "special_category": "dpv:HealthData"}]}
    claims = kantara(details=controller_details(purposes={"chat-history": health}))
    assert (claims["sensitive"], claims["spiCat"]) == (True, ["dpv:HealthData"])
    with pytest.raises(ReceiptIncomplete) as refused:
        kantara(details=controller_details(purposes={}))
    assert refused.value.pointer == "/sensitive"


def test_an_event_without_consent_has_no_receipt() -> None:
    with pytest.raises(NoConsentStated):
        iso(decisions=[OBJECTION])


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"known": False}, "/processing/privacy_notice"),
        ({"notice": notice_content()}, "/processing/purposes/1/purpose"),
        ({"details": controller_details(jurisdiction=None)}, "/processing/jurisdiction"),
        ({"details": controller_details(retention=None)}, "/processing/purposes/0/retention_period"),
    ],
)
def test_a_value_that_nobody_stated_refuses_the_receipt(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ReceiptIncomplete) as refused:
        iso(**changes)
    assert refused.value.pointer == pointer
    assert refused.value.status == 409


@pytest.mark.parametrize("member", ["email", "phone", "policy_url"])
def test_kantara_asks_for_more_of_the_controller(member: str) -> None:
    details = controller_details(**{member: None})
    assert iso(details=details)
    with pytest.raises(ReceiptIncomplete):
        kantara(details=details)


def test_the_same_words_are_the_same_receipt() -> None:
    assert signed(iso()) == signed(iso())
    assert iso()["receipt_id"] != iso(details=controller_details(retention="P1D"))["receipt_id"]
    assert iso()["receipt_id"] != kantara()["consentReceiptID"]


# --- what it is filled from ---------------------------------------------------------------------------------------


def test_notices_from_before_keep_their_names() -> None:
    """The hash of a notice without any of the later members, as version 0.1 named it."""
    name = notice_hash(notice_bytes(notice_content())).hex()
    assert name == "e31911f0faa1633e1e5de6e6cf9153cc8398a396f0b815ece2a9761dd0f9dd7c"


def test_a_notice_may_carry_what_was_drawn() -> None:
    content = notice_content(html="<p>oui ?</p>", ui_sha256="ab" * 32)
    assert NoticeContent.model_validate_json(notice_bytes(content)).html == "<p>oui ?</p>"
    with pytest.raises(InvalidValue):
        notice_bytes(notice_content(html="x" * (64 * 1024 + 1)))
    with pytest.raises(InvalidValue):
        notice_bytes(notice_content(ui_sha256="AB" * 32))


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"party_type": "a company"}, "/party_type"),
        ({"address": {"street": "x", "locality": "y"}}, "/address/country"),
        ({"v": True}, "/v"),
        ({"secret": "x"}, "/secret"),
        ({"url": "javascript:alert(1)"}, "/url"),
    ],
)
def test_details_are_closed(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        details_bytes(controller_details(**changes))
    assert refused.value.pointer == pointer


# --- verification -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [iso, kantara])
def test_a_receipt_verifies(made: Any) -> None:
    steps: list[Step] = []
    claims = made()
    assert verify_receipt(signed(claims), KEYS, vkey=VKEY, origin=ORIGIN, done=steps.append) == claims
    assert [step.name for step in steps] == ["signature", "receipt", "proof", "claims"]
    # What stays open is that the words are not inside.
    assert [step.outcome for step in steps] == ["ok", "ok", "remark", "ok"]


def test_every_character_counts() -> None:
    receipt = signed(iso())
    for position in range(0, len(receipt), 7):
        other = "A" if receipt[position] != "A" else "B"
        with pytest.raises(ProofError):
            verify_receipt(receipt[:position] + other + receipt[position + 1 :], KEYS, vkey=VKEY)


def header(**changes: Any) -> dict[str, Any]:
    members = {"alg": "EdDSA", "kid": KID, "typ": "sayso-receipt+jwt"} | changes
    return {name: value for name, value in members.items() if value is not None}


@pytest.mark.parametrize(
    "members",
    [
        header(alg="none"),
        header(alg="HS256"),
        header(alg="Ed25519"),
        header(alg=["EdDSA"]),
        header(alg=None),
        header(typ="JWT"),
        header(typ=None),
        header(kid=None),
        header(kid="0" * 16),
        header(kid=[KID]),
        header(crit=["exp"]),
        header(b64=False, crit=["b64"]),
        header(jwk={"kty": "OKP", "crv": "Ed25519", "x": base64url(KEYS[KID])}),
        header(jku="https://attacker.example/jwks.json"),
        header(x5c=[]),
    ],
    ids=json.dumps,
)
def test_no_other_header_is_taken(members: dict[str, Any]) -> None:
    with pytest.raises(ProofError):
        verify_receipt(signed(iso(), members), KEYS, vkey=VKEY)


def test_algorithm_confusion() -> None:
    """An HMAC under the published key, an empty signature, a signature by the log's key."""
    claims = iso()
    text = signed(claims, header(alg="HS256")).rpartition(".")[0]
    mac = base64url(hmac.digest(KEYS[KID], text.encode(), "sha256"))
    honest = signed(claims)
    for forged in (f"{text}.{mac}", f"{honest.rpartition('.')[0]}.", signed(claims, key=LOG_KEY)):
        with pytest.raises(ProofError):
            verify_receipt(forged, KEYS, vkey=VKEY)


SPOILT: dict[str, Any] = {
    "padding": lambda jws: jws + "=",
    "a newline": lambda jws: jws + "\n",
    "a space": lambda jws: " " + jws,
    "four pieces": lambda jws: jws.replace(".", "..", 1),
    "a dot at the end": lambda jws: jws + ".",
    "two pieces": lambda jws: ".".join(jws.split(".")[:2]),
    "stray bits": lambda jws: jws[:-1] + {"A": "B", "Q": "R", "g": "h", "w": "x"}[jws[-1]],
    "nothing": lambda _: "",
    "only dots": lambda _: "..",
    "beyond ASCII": lambda jws: "é" + jws,
}


@pytest.mark.parametrize("spoil", SPOILT, ids=str)
def test_one_spelling(spoil: str) -> None:
    with pytest.raises(ProofError):
        verify_receipt(SPOILT[spoil](signed(iso())), KEYS, vkey=VKEY)


def test_a_text_that_is_too_long_is_not_opened() -> None:
    with pytest.raises(ProofError, match="not a receipt"):
        verify_receipt(signed(iso()) + "A" * RECEIPT_CHARS_MAX, KEYS, vkey=VKEY)


def without(claims: dict[str, Any], *path: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(claims))
    inner: Any = copy
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return copy


def put(claims: dict[str, Any], value: Any, *path: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(claims))
    inner: Any = copy
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return copy


LIES: dict[str, Any] = {
    "another event": lambda c: put(c, "01930f5e-7c1e-7b1a-9c55-00000000000f", "record_id"),
    "a refusal turned": lambda c: put(c, "dpv:ConsentGiven", "events", 1, "event_state"),
    "another purpose": lambda c: put(c, "marketing", "processing", "purposes", 0, "purpose_id"),
    "a purpose less": lambda c: without(c, "processing", "purposes", 1),
    "another notice": lambda c: put(c, "00" * 32, "processing", "privacy_notice", "sha256"),
    "another time": lambda c: put(c, "2026-10-01T09:00:00Z", "events", 0, "event_time"),
    "another log": lambda c: put(c, "log.example/logs/other", "proof", "log", "origin"),
    "another key": lambda c: put(c, "log.example/logs/shop+00000000+AA==", "proof", "log", "vkey"),
    "no proof": lambda c: without(c, "proof"),
    "no tlog-proof": lambda c: without(c, "proof", "tlog_proof"),
    "a proof of a number": lambda c: put(c, 1, "proof", "tlog_proof"),
    "another format": lambda c: put(c, "sayso-receipt/v2", "proof", "format"),
    "both forms": lambda c: put(c, "KI-CR-v1.1.0", "version"),
    "neither form": lambda c: without(c, "schema_version"),
    "no events": lambda c: without(c, "events"),
    "no processing": lambda c: put(c, [], "processing"),
    "a damaged proof": lambda c: put(c, c["proof"]["tlog_proof"].replace("index 2", "index 3"), "proof", "tlog_proof"),
}


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_the_holder_of_the_receipt_key_cannot_contradict_the_log(lie: str) -> None:
    with pytest.raises(ProofError):
        verify_receipt(signed(LIES[lie](iso())), KEYS, vkey=VKEY)


KANTARA_LIES: dict[str, Any] = {
    "another second": lambda c: put(c, 1793523601, "consentTimestamp"),
    "another purpose": lambda c: put(c, ["chat-proactive"], "services", 0, "purposes", 0, "purposeCategory"),
    "another site": lambda c: put(c, "other.example", "services", 0, "service"),
    "no services": lambda c: put(c, 1, "services"),
}


@pytest.mark.parametrize("lie", KANTARA_LIES, ids=str)
def test_a_kantara_receipt_cannot_either(lie: str) -> None:
    with pytest.raises(ProofError):
        verify_receipt(signed(KANTARA_LIES[lie](kantara())), KEYS, vkey=VKEY)


def test_a_proof_without_the_decision_ties_nothing() -> None:
    claims = iso()
    sha256 = notice_hash(notice_bytes(shown_notice())).hex()
    event = consent_event(1, notice={"sha256": sha256, "language": "fr"})
    kept_back = proven(event, None, disclosed=("who",)).tlog_proof()
    with pytest.raises(ProofError, match="keeps the part 'what' back"):
        verify_receipt(signed(put(claims, kept_back, "proof", "tlog_proof")), KEYS, vkey=VKEY)


def test_the_readers_keys_decide() -> None:
    receipt = signed(iso())
    other = {KID: LOG_KEY.public_key().public_bytes_raw()}
    for keys in ({}, other):
        with pytest.raises(ProofError, match="step 1"):
            verify_receipt(receipt, keys, vkey=VKEY)
    with pytest.raises(ProofError, match="step 3"):
        verify_receipt(receipt, KEYS, vkey=VKEY.replace("shop", "stop"))


def jwk(**changes: Any) -> dict[str, Any]:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": KID,
        "x": base64url(RECEIPT_KEY.public_key().public_bytes_raw()),
    } | changes


def test_a_jwk_set_is_read() -> None:
    others = [{"kty": "RSA", "kid": "1", "n": "AQAB", "e": "AQAB"}]
    assert read_jwks(json.dumps({"keys": [*others, jwk()]}).encode()) == KEYS


NOT_A_KEY: list[dict[str, Any]] = [{"x": "AAAA"}, {"x": 1}, {"kid": []}, {"crv": "X25519"}]


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"keys":1}', b'{"keys":[]}', b'{"keys":[1]}']
    + [json.dumps({"keys": [jwk(**changes)]}).encode() for changes in NOT_A_KEY],
)
def test_a_jwk_set_without_a_key_is_refused(raw: bytes) -> None:
    with pytest.raises(ProofError):
        read_jwks(raw)


def test_the_command_line_takes_a_receipt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt, keys = tmp_path / "receipt.jws", tmp_path / "receipts.jwks"
    receipt.write_text(signed(iso()), encoding="ascii")
    keys.write_text(json.dumps({"keys": [jwk()]}), encoding="utf-8")
    assert main([str(receipt), "--jwks", str(keys), "--vkey", VKEY]) == 0
    assert "ok      4 claims" in capsys.readouterr().out
    assert main([str(receipt), "--vkey", VKEY]) == 2
    assert "give --jwks" in capsys.readouterr().err
    keys.write_text("{}", encoding="utf-8")
    assert main([str(receipt), "--jwks", str(keys)]) == 2
    receipt.write_bytes(b"eyJ\xff" + receipt.read_bytes())
    keys.write_text(json.dumps({"keys": [jwk()]}), encoding="utf-8")
    assert main([str(receipt), "--jwks", str(keys)]) == 1
    assert "NOT VERIFIED" in capsys.readouterr().out
