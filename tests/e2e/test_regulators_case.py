"""A regulator's case from the letter to the closed file, over HTTP and the command line alone: docs/regulators.md is
pasted into bash as it stands there, and 25 questions about five people and two versions of a notice are asked.
"""

import asyncio
import base64
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx2
import pypdf
import pytest

from deploy.kafka.node import free_port
from schemas.record import format_time
from schemas.visitors import visitor_id
from services.cli.demo import fetch
from services.cli.demo.commands import CURL
from tests.support.embedded import SaysoUp
from tests.support.spellings import spellings
from tests.support.wait import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ROOT: Final = Path(__file__).resolve().parents[2]
BIN: Final = ROOT / ".venv" / "bin"
DOCUMENT: Final = ROOT / "docs" / "regulators.md"
SITE: Final = "first-site"
ORIGIN: Final = "https://shop.example"
CASE: Final = "CNIL 2026-1234"
ADDRESSES: Final = {
    "bruno": {"type": "email", "value": "bruno@mail.example"},
    "clara": {"type": "account", "value": "clara-12"},
    "dario": {"type": "email", "value": "dario@mail.example"},
    "emma": {"type": "email", "value": "emma@mail.example"},
}
GUARDIAN: Final = {"type": "email", "value": "mother-of-clara@mail.example"}
WORDS: Final = {"v1": "One letter a month.", "v2": "One letter a month, sent by Postbote or by Briefbote."}
NOTICE: Final[dict[str, Any]] = {
    "notice": "letter",
    "version": "1",
    "fallback_language": "en",
    "controller": {"name": "The shop", "contact": "dpo@shop.example"},
    "minimum_age": 16,
    "texts": {"en": {"title": "The letter", "text": WORDS["v1"], "withdrawal": "By the link in each letter."}},
    "purposes": [
        {
            "purpose": purpose,
            "legal_basis": "consent",
            "services": [],
            "recipients": ["Postbote GmbH"],
            "scope": "account",
            "texts": {"en": {"title": title, "description": "If you agree."}},
        }
        for purpose, title in (("newsletter", "The letter"), ("usage-figures", "What you look at"))
    ],
}


def now() -> str:
    return format_time(datetime.now(UTC))


def decided(decision: str, purpose: str = "newsletter", basis: str = "consent") -> dict[str, str]:
    return {"purpose": purpose, "decision": decision, "legal_basis": basis}


@dataclass
class Shop:
    """The shop's pages, its server and its people, as they use Sayso; `names` is what questions are written with."""

    up: SaysoUp
    folder: Path
    names: dict[str, str] = field(default_factory=lambda: {"nobody": str(uuid.uuid4())})
    visitor_key: str = field(default_factory=lambda: "vk_" + secrets.token_urlsafe(32))
    capability: str = ""

    def __post_init__(self) -> None:
        said = self.up.said()
        kinds = ("publishable", "server", "privacy", "dpo")
        self.keys = {kind: re.search(rf"^ +{kind} +(\S+)$", said, re.MULTILINE)[1] for kind in kinds}  # type: ignore[index] # printed
        self.settings = self.up.settings("sayso.env")
        self.environment = {**os.environ, **self.settings, "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.ingest = httpx2.Client(base_url=self.settings["SAYSO_INGEST_URL"], timeout=30, trust_env=False)
        self.query = httpx2.Client(base_url=self.settings["SAYSO_QUERY_URL"], timeout=30, trust_env=False)

    @property
    def visitor(self) -> str:
        return visitor_id(self.visitor_key)

    def ask(self, key: str, method: str, path: str, **request: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key}", **request.pop("headers", {})}
        return self.query.request(method, path, headers=headers, **request)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environment, cwd=self.folder
        )

    def publish(self, name: str, source: Mapping[str, Any]) -> None:
        made = self.ask(self.keys["privacy"], "POST", f"/v1/sites/{SITE}/notices", json=source)
        assert made.status_code == 201, made.text
        self.names[name] = made.json()["notices"][0]["sha256"]

    def shown(self) -> dict[str, str]:
        """The notice as a page gets it, with the token that says who served it."""
        notice = self.ingest.get(f"/v1/notices/{SITE}", params={"language": "en"}).json()
        return {"sha256": notice["sha256"], "language": "en", "token": notice["token"]}

    def post(self, name: str, event_type: str, who: str, *decisions: Mapping[str, str], **data: Any) -> None:
        """One event, recorded on return; Anna's own browser posts hers, the shop's server everybody else's."""
        identifier = {"type": "cookie", "value": self.visitor} if who == "anna" else ADDRESSES[who]
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": f"/sites/{SITE}",
            "type": event_type,
            "time": now(),
            "data": {"subject": {"identifiers": [identifier]}, "decisions": decisions, **data},
        }
        headers = {"prefer": "wait=20", "content-type": "application/cloudevents+json"}
        if who == "anna":
            event["visitorkey"] = self.visitor_key
            headers |= {"origin": ORIGIN, "authorization": f"Bearer {self.keys['publishable']}"}
        else:
            headers["authorization"] = f"Bearer {self.keys['server']}"
        answer = self.ingest.post("/v1/events", json=event, headers=headers)
        assert answer.status_code == 201, answer.text
        self.capability = answer.json().get("capability", self.capability)
        self.names[name] = event["id"]


def what_happened(shop: Shop) -> None:
    """Five people and two versions of a notice; every moment that a question is about gets a name."""
    assert shop.run("sayso", "site", "allow-origin", SITE, ORIGIN).returncode == 0
    shop.publish("v1", NOTICE)
    v1 = shop.shown()
    shop.post("anna_early", "consent.refused", "anna", decided("denied"), notice=v1)
    shop.names["from"] = now()
    page = {"page": "/checkout", "country": "FR"}
    shop.post("bruno_refused", "consent.refused", "bruno", decided("denied"), notice=v1, context=page)
    shop.names["refused"] = now()
    both = decided("granted"), decided("granted", "usage-figures")
    shop.post("bruno_agreed", "consent.given", "bruno", *both, notice=v1, context=page)
    shop.post("anna_agreed", "consent.given", "anna", decided("granted"), notice=v1)
    shop.post("dario_agreed", "consent.given", "dario", decided("granted"), notice=v1)
    shop.post("emma_refused", "consent.refused", "emma", decided("denied"), notice=v1)
    shop.names["agreed"] = now()

    second = json.loads(json.dumps(NOTICE)) | {"version": "2"}
    second["texts"]["en"]["text"] = WORDS["v2"]
    second["purposes"][0]["recipients"].append("Briefbote SE")
    shop.publish("v2", second)
    shop.names["changed"] = now()
    # Clara is twelve. Her mother agrees with her eID, on a form of the shop's own; it makes ingest look for version 2.
    authorised = {"identifier": GUARDIAN, "authorised_at": now()}
    by = {"actor": {"entity": "guardian", "auth": "eid"}, "guardian": authorised, "age": {"over": False}}
    named = {"sha256": shop.names["v2"], "language": "en"}
    shop.post("clara_agreed", "consent.given", "clara", decided("granted"), notice=named, **by)
    v2 = shop.shown()
    assert v2["sha256"] == shop.names["v2"]
    shop.post("anna_again", "consent.given", "anna", decided("granted"), notice=v2)
    shop.post("bruno_withdrew", "consent.withdrawn", "bruno", decided("denied"), notice=v2)
    shop.names["withdrawn"] = now()
    objection = decided("objected", basis="legitimate_interest")
    shop.post("bruno_objected", "consent.refused", "bruno", objection, notice=v2)
    shop.names["until"] = now()
    shop.post("anna_late", "consent.withdrawn", "anna", decided("denied"), notice=v2)


class Question(NamedTuple):
    """What the regulator asks, in words and as a request; what the answer shows, by path. `look`: what is noted."""

    words: str
    path: str
    shows: Mapping[str, Any]
    look: str | None = None
    status: int = 200
    accept: str = "application/json"


_LETTER: Final = "/status?purpose=newsletter"
_WITHDRAWN: Final = {"valid": False, "reasons": ["withdrawn"], "decision": "denied", "event": "{bruno_withdrew}"}
_NOTHING: Final = {"type": "/problems/not-found"}
_JOSE: Final = "application/jose"

QUESTIONS: Final[Sequence[Question]] = (
    Question(
        "Does Anna agree to the letter?",
        "/v1/subjects/{anna}" + _LETTER,
        # What she did after the time of the grant is not looked at, and the answer says of when it is.
        {
            "valid": True,
            "reasons": [],
            "event": "{anna_again}",
            "at": "{until}",
            "known_at": "{until}",
            "notice.sha256": "{v2}",
            "notice.notice_version": "2",
            "words": "rendered",
            "posted_by": "browser",
        },
        "status",
    ),
    Question(
        "And before the words changed?",
        "/v1/subjects/{anna}" + _LETTER + "&at={agreed}",
        {"valid": True, "event": "{anna_agreed}", "notice.sha256": "{v1}", "words": "rendered"},
        "status",
    ),
    Question(
        "They changed, and she had not answered yet: was she still written to by right?",
        "/v1/subjects/{anna}" + _LETTER + "&at={changed}",
        {"valid": False, "reasons": ["notice_changed"], "event": "{anna_agreed}"},
        "status",
    ),
    Question(
        "What did the shop know of that moment before it published the new words?",
        "/v1/subjects/{anna}" + _LETTER + "&at={changed}&known_at={agreed}",
        {"valid": True, "reasons": [], "known_at": "{agreed}"},
        "status",
    ),
    Question("Does Bruno agree?", "/v1/subjects/{bruno}" + _LETTER, _WITHDRAWN, "status"),
    Question(
        "Did he ever?",
        "/v1/subjects/{bruno}" + _LETTER + "&at={agreed}",
        {"valid": True, "event": "{bruno_agreed}", "notice.sha256": "{v1}"},
        "status",
    ),
    Question(
        "And before that?",
        "/v1/subjects/{bruno}" + _LETTER + "&at={refused}",
        {"valid": False, "reasons": ["denied"], "event": "{bruno_refused}"},
        "status",
    ),
    Question(
        "Was he asked before the spring?",
        "/v1/subjects/{bruno}" + _LETTER + "&at=2026-03-01T00:00:00Z",
        {"valid": False, "reasons": ["never_asked"], "decision": None},
        "status",
    ),
    Question(
        "When did he take it back, and in which steps did it come to that?",
        "/v1/subjects/{bruno}/history",
        {
            "records.*.event": ["{bruno_refused}", "{bruno_agreed}", "{bruno_withdrew}", "{bruno_objected}"],
            "records.*.parts.what.type": ["consent.refused", "consent.given", "consent.withdrawn", "consent.refused"],
            "records.1.parts.context.page": "/checkout",
            "records.*.class": ["consent"] * 4,
            "next": None,
        },
        "history",
    ),
    Question(
        "Did he also object to being written to without his consent?",
        "/v1/subjects/{bruno}/consents",
        {
            "decisions.*.legal_basis": ["consent", "legitimate_interest"],
            "decisions.*.decision": ["denied", "objected"],
            # He had agreed to another purpose in the same act; that is not the case's.
            "decisions.*.purpose": ["newsletter", "newsletter"],
        },
        "consents",
    ),
    Question(
        "Clara is a child. Is there a valid consent?",
        "/v1/subjects/{clara}" + _LETTER,
        {"valid": True, "reasons": [], "event": "{clara_agreed}", "notice.sha256": "{v2}"},
        "status",
    ),
    Question(
        "Who agreed for her, and how was that found out?",
        "/v1/subjects/{clara}/history",
        {
            "records.*.parts.what.actor": [{"entity": "guardian", "auth": "eid"}],
            "records.*.parts.what.age": [{"over": False, "minimum": 16}],
            "records.*.deleted": [[]],
        },
        "history",
    ),
    Question(
        "Does Dario agree?",
        "/v1/subjects/{dario}" + _LETTER,
        {"valid": False, "reasons": ["erased"], "decision": None, "erased_at": "{erased}"},
        "status",
    ),
    Question(
        "What is left of him?", "/v1/subjects/{dario}/history", {"records": [], "erased_at": "{erased}"}, "history"
    ),
    Question("And Emma, of whom we have no complaint?", "/v1/subjects/{emma}" + _LETTER, _NOTHING, status=404),
    Question("And somebody who never was?", "/v1/subjects/{nobody}" + _LETTER, _NOTHING, status=404),
    Question(
        "May Bruno's clicks be counted?", "/v1/subjects/{bruno}/status?purpose=usage-figures", _NOTHING, status=404
    ),
    Question("What did Anna do before the time of the case?", "/v1/events/{anna_early}/proof", _NOTHING, status=404),
    Question("And after it?", "/v1/events/{anna_late}/proof", _NOTHING, status=404),
    Question(
        "Which words did Bruno agree to?",
        "/v1/events/{bruno_agreed}/proof",
        {
            "words": "{v1}",
            "notice.text": WORDS["v1"],
            "notice.purposes.0.recipients": ["Postbote GmbH"],
            "parts.what.json.decisions.*.decision": ["granted", "granted"],
            "parts.who": None,
        },
        "proof",
    ),
    Question(
        "Which words did Anna agree to, the second time?",
        "/v1/events/{anna_again}/proof",
        {
            "words": "{v2}",
            "notice.text": WORDS["v2"],
            "notice.purposes.0.recipients": ["Postbote GmbH", "Briefbote SE"],
            "parts.who": None,
        },
        "proof",
    ),
    Question(
        "Which versions of the notice are there?",
        f"/v1/sites/{SITE}/notices",
        {"notices.*.sha256": ["{v1}", "{v2}"], "notices.*.version": ["1", "2"], "notices.*.asks_again": [False, True]},
    ),
    Question(
        "What did the first of them say, whoever saw it?",
        f"/v1/sites/{SITE}/notices/{{v1}}",
        {"text": WORDS["v1"], "version": "1", "minimum_age": 16, "purposes.*.purpose": ["newsletter", "usage-figures"]},
    ),
    Question(
        "Give us in writing that there is no valid consent of Bruno's.",
        "/v1/subjects/{bruno}" + _LETTER,
        {**{f"answer.{path}": value for path, value in _WITHDRAWN.items()}, "format": "sayso-answer/v1"},
        "status",
        accept=_JOSE,
    ),
    Question(
        "Whose address is it?",
        "/v1/events/{bruno_agreed}/proof?disclose=who",
        {"type": "/problems/role-not-allowed"},
        status=403,
    ),
)


def at(value: Any, path: str) -> Any:
    """What stands at a path; `*` is every member of a list. JSON inside a string is read."""
    step, _, rest = path.partition(".")
    if isinstance(value, str):
        value = json.loads(value)
    if step == "*":
        return [at(one, rest) if rest else one for one in value]
    found = value[int(step)] if isinstance(value, list) else value.get(step)
    return at(found, rest) if rest else found


def named(value: Any, names: Mapping[str, str]) -> Any:
    """With every `{name}` in place."""
    if isinstance(value, str):
        return value.format_map(names)
    if isinstance(value, list):
        return [named(one, names) for one in value]
    return value


def read(answer: httpx2.Response, accept: str) -> Any:
    if accept == _JOSE and answer.is_success:
        payload = answer.text.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    found = answer.json()
    if "notice" in found and isinstance(found["notice"], str):
        found["words"] = hashlib.sha256(found["notice"].encode()).hexdigest()
    return found


def asked(shop: Shop, key: str, question: Question) -> httpx2.Response:
    path = question.path.format_map(shop.names)
    return shop.ask(key, "GET", path, headers={"accept": question.accept})


def commands(shop: Shop) -> tuple[str, str]:
    """The commands of the document, up to section 7 and from there on, with the case's own values in place."""
    text = DOCUMENT.read_text(encoding="utf-8")
    values = {
        "https://answers.shop.example": shop.settings["SAYSO_QUERY_URL"],
        "DPO=ak_... ": f"DPO={shop.keys['dpo']} ",
        "LOG=shop ": "LOG=first ",
        "SITE=shop.example": f"SITE={SITE}",
        "FROM=2026-01-01T00:00:00Z": f"FROM={shop.names['from']}",
        "UNTIL=2026-06-03T00:00:00Z": f"UNTIL={shop.names['until']}",
        "v1.anna": shop.visitor,
    }
    for written, value in values.items():
        assert text.count(written) == 1, written
        text = text.replace(written, value)
    if shutil.which("curl") is None:
        text = text.replace(CURL, f"{sys.executable} -m {fetch.__name__}")
    before, heading, after = text.partition("## 7. ")
    assert heading
    first, second = (
        "".join(re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)) for part in (before, after)
    )
    return first, second


def paste(shop: Shop, script: str) -> str:
    """Run commands in bash; what they printed."""
    done = shop.run("bash", "-e", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    up = SaysoUp(tmp_path)
    try:
        # Of its own, so that another one on this machine is not in its way.
        up.start(environment={f"SAYSO_{name}_PORT": str(free_port()) for name in ("INGEST", "QUERY", "LEDGER_METRICS")})
        up.wait_until_up()
        folder = tmp_path / "dpo"
        folder.mkdir()
        shop = Shop(up, folder)
        with shop.ingest, shop.query:
            yield shop
    finally:
        up.destroy()


def test_a_regulators_case(shop: Shop) -> None:
    assert len(QUESTIONS) == 25
    what_happened(shop)
    first, second = commands(shop)
    # Dario asks to be erased while the DPO is at it: between the grant and the first question.
    grant, heading, questions = first.partition('ask "$QUERY/logs/$LOG/vkey"')
    kept = "\n{ declare -p QUERY DPO LOG SITE WHY ANNA BRUNO CLARA DARIO GRANT KEY; declare -f; } > played.sh\n"
    paste(shop, grant + kept)
    _read_names(shop)
    erased = shop.ask(
        shop.keys["privacy"],
        "POST",
        f"/v1/subjects/{shop.names['dario']}/erasure",
        json={"ground": "17(1)(b)"},
        headers={"prefer": "wait=20"},
    )
    assert erased.status_code == 201, erased.text
    shop.names["erased"] = erased.json()["erased_at"]
    said = paste(shop, ". ./played.sh\n" + heading + questions)
    assert said.count("\nVerified") == 3, said

    key = json.loads((shop.folder / "grant.json").read_bytes())["key"]
    answers = [_answer(shop, key, question) for question in QUESTIONS]
    assert len({answers[n].content for n, one in enumerate(QUESTIONS) if one.status == 404}) == 1
    _shows_nobody(shop, [answer.content for answer in answers])
    _holds_the_decision_and_not_the_address(shop)
    _a_changed_byte_is_refused(shop)
    _every_look_is_in_the_log(shop)
    _the_person_is_told_without_names(shop)

    paste(shop, ". ./played.sh\n" + second)
    for question in QUESTIONS:
        refused = asked(shop, key, question)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/wrong-key"), question.words


def _read_names(shop: Shop) -> None:
    """What the pasted commands found: whom, and the grant."""
    played = (shop.folder / "played.sh").read_text()
    for name in ("ANNA", "BRUNO", "CLARA", "DARIO", "GRANT"):
        (shop.names[name.lower()],) = re.findall(rf'^declare -- {name}="(.*)"$', played, re.MULTILINE)
    found = shop.ask(shop.keys["dpo"], "POST", "/v1/subjects/lookup", json={"identifier": ADDRESSES["emma"]})
    shop.names["emma"] = found.json()["subject"]


def _answer(shop: Shop, key: str, question: Question) -> httpx2.Response:
    answer = asked(shop, key, question)
    assert answer.status_code == question.status, (question.words, answer.text)
    found = read(answer, question.accept)
    for path, value in question.shows.items():
        assert at(found, path) == named(value, shop.names), (question.words, path, answer.text)
    return answer


def _shows_nobody(shop: Shop, contents: Sequence[bytes]) -> None:
    """No address, account, visitor's number or guardian in anything that the regulator was sent."""
    secret = [shop.visitor, *(one["value"] for one in (*ADDRESSES.values(), GUARDIAN))]
    needles = [
        spelling
        for one in secret
        for spelling in (*spellings(one.encode()), quote(one).encode(), one.replace("@", "\\u0040").encode())
    ]
    for content in contents:
        assert [needle for needle in needles if needle.lower() in content.lower()] == []


def _holds_the_decision_and_not_the_address(shop: Shop) -> None:
    event = shop.names["bruno_withdrew"]
    with zipfile.ZipFile(shop.folder / "case.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    proof = json.loads(members[f"events/{event}/proof.json"])
    assert at(proof, "parts.what.json.decisions") == [decided("denied")]
    assert at(proof, "parts.what.json.type") == "consent.withdrawn"
    assert (set(proof["parts"]), set(proof["digests"])) == ({"what", "context"}, {"who"})
    pages = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(members["report.pdf"])).pages)
    assert "newsletter" in pages
    assert f"notices/{shop.names['v2']}.txt" in members
    _shows_nobody(shop, [*members.values(), pages.encode(), (shop.folder / "case.zip").read_bytes()])


def _a_changed_byte_is_refused(shop: Shop) -> None:
    """Verified offline by both verifiers; one other byte, and neither does."""
    content = bytearray((shop.folder / "case.zip").read_bytes())
    content[len(content) // 3] ^= 1
    (shop.folder / "changed.zip").write_bytes(content)
    vkey = (shop.folder / "log.vkey").read_text().strip()
    for verifier in (("sayso", "verify"), (sys.executable, "case/verify.py")):
        assert shop.run(*verifier, "case.zip", "--vkey", vkey).returncode == 0
        refused = shop.run(*verifier, "changed.zip", "--vkey", vkey)
        assert refused.returncode == 1, refused.stdout + refused.stderr
        assert "NOT VERIFIED" in refused.stdout


def _every_look_is_in_the_log(shop: Shop) -> None:
    """One record for each look with its case and grant, of whom and by which key; what showed nothing left none."""
    whom = {shop.names[name]: name for name in ("anna", "bruno", "clara", "emma")}
    of_event = {"bruno_agreed": "bruno", "anna_again": "anna"}
    pasted = [("status", "bruno"), ("history", "bruno"), ("proof", "bruno"), ("status", "bruno")]
    expected = list(pasted)
    for question in QUESTIONS:
        if question.look is not None:
            (name,) = re.findall(r"\{(anna|bruno|clara|dario|bruno_agreed|anna_again)\}", question.path)
            expected.append((question.look, of_event.get(name, name)))
    looks: list[dict[str, Any]] = []

    def is_complete() -> bool:
        answer = shop.ask(shop.keys["dpo"], "GET", f"/v1/access-log?grant={shop.names['grant']}&limit=500")
        looks[:] = answer.json()["records"]
        return len(looks) > len(expected)

    asyncio.run(until(is_complete, what="every look is recorded"))
    granted, *reads = looks
    assert (granted["type"], granted["access"]["subjects"], granted["access"]["authority"]) == (
        "access.granted",
        4,
        "CNIL",
    )
    # Of somebody who was erased the look stands without a name.
    assert [(one["access"]["look"], whom.get(one.get("subject", ""), "dario")) for one in reads] == expected
    assert {(one["type"], one["access"]["case"], one["access"]["grant"]) for one in reads} == {
        ("access.read", CASE, shop.names["grant"])
    }
    (viewer,) = {(one["viewer"]["role"], one["viewer"]["name"]) for one in reads}
    assert viewer[0] == "auditor"
    whole = shop.ask(shop.keys["dpo"], "GET", "/v1/access-log?limit=500").json()["records"]
    mine = [one for one in whole if one.get("access", {}).get("look") == "lookup"]
    # Four by the document and one by this test; of him who was erased since only the place is left.
    assert [one["access"]["why"] for one in mine] == ["letter of the CNIL, 3 June"] * 3 + ["not stated"]


def _the_person_is_told_without_names(shop: Shop) -> None:
    """Anna's browser shows her who looked, by time, role and case."""
    answer = shop.ask(shop.capability, "GET", "/v1/me/looks")
    assert answer.status_code == 200, answer.text
    by_auditor = [one for one in answer.json()["looks"] if one["role"] == "auditor"]
    assert [one["look"] for one in by_auditor] == ["status"] * 4 + ["proof"]
    assert {(frozenset(one), one["case"]) for one in by_auditor} == {(frozenset({"at", "look", "role", "case"}), CASE)}
    assert [one["look"] for one in answer.json()["looks"] if one["role"] == "dpo"] == ["lookup"]
    assert "ak_" not in answer.text
    assert "letter of the CNIL" not in answer.text
