"""What a privacy policy says of a site's purposes and services, in one language, from its notices and the catalogue.

Invariant: nothing is translated here and nothing is made up. A text that is not there in the language asked for keeps
its own, and says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.catalogue.service import Service
from schemas.notices import NoticeContent, NoticePurpose
from schemas.policy_texts.tables import StoredRow, asked_uses, stored_rows
from schemas.policy_texts.wording import Phrase, Wording, served_language


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled statement; the label is in the language of the document."""

    label: str
    text: Phrase


@dataclass(frozen=True, slots=True)
class NoticeText:
    """Which notice the words come from."""

    notice_id: str
    version: str
    language: str
    title: Phrase
    controller: str
    contact: str
    authority: str | None
    withdrawal: Phrase


@dataclass(frozen=True, slots=True)
class PurposeText:
    """One purpose as a notice puts it."""

    purpose: str
    notice_id: str
    legal_basis: str
    services: Sequence[str]
    title: Phrase
    description: Phrase
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True)
class ServiceText:
    """One service: its paragraph where the catalogue has one, else the facts it has."""

    service: str
    name: str
    in_catalogue: bool
    paragraph: Phrase | None
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True)
class PolicyTexts:
    """The whole, in one language. requested_language: as it was asked for, which `language` may not be."""

    requested_language: str
    language: str
    notices: Sequence[NoticeText]
    purposes: Sequence[PurposeText]
    services: Sequence[ServiceText]
    cookies: Sequence[StoredRow]


def policy_texts(
    notices: Sequence[NoticeContent], catalogue: Mapping[str, Service], requested_language: str
) -> PolicyTexts:
    """The texts for the notices of one site, the latest first.

    1. Choose the language served; 2. of each notice take the latest in it, else in what stands in for it, else in
    English, else the latest at all; 3. the purposes as they stand there; 4. the services they name; 5. what those keep
    on the device. Notices that are not in force yet are the caller's to leave out.
    """
    wording = Wording(served_language(requested_language))
    chosen = _one_each(notices, wording.language)
    asked = asked_uses(chosen)
    return PolicyTexts(
        requested_language=requested_language,
        language=wording.language,
        notices=[_notice_text(notice) for notice in chosen],
        purposes=[
            _purpose_text(notice, purpose, catalogue, wording) for notice in chosen for purpose in notice.purposes
        ],
        services=[_service_text(name, catalogue.get(name), wording) for name in sorted(asked)],
        cookies=stored_rows(asked, catalogue, wording),
    )


def _one_each(notices: Sequence[NoticeContent], language: str) -> list[NoticeContent]:
    by_id: dict[str, list[NoticeContent]] = {}
    for notice in notices:
        by_id.setdefault(notice.notice_id, []).append(notice)
    found = []
    for _, versions in sorted(by_id.items()):
        latest = versions[0]
        # A version that names its fallback is whole: an older one in another language would ask for something else.
        whole = latest.fallback_language is not None
        fitting = [one for one in versions if one.version == latest.version] if whole else versions
        stands_in = "en" if latest.fallback_language is None else _primary(latest.fallback_language)
        fits = [[one for one in fitting if _primary(one.language) == wanted] for wanted in (language, stands_in)]
        found.append(next((those[0] for those in fits if those), latest))
    return found


def _primary(language: str) -> str:
    return language.partition("-")[0]


def _language_at(notice: NoticeContent, pointer: str) -> str:
    """The language of one of the notice's texts: its own, or its fallback's where nobody translated it."""
    untranslated = notice.untranslated or []
    if notice.fallback_language is not None and any(f"{at}/".startswith(f"{pointer}/") for at in untranslated):
        return _primary(notice.fallback_language)
    return _primary(notice.language)


def _notice_text(notice: NoticeContent) -> NoticeText:
    authority = notice.authority
    return NoticeText(
        notice_id=notice.notice_id,
        version=notice.version,
        language=notice.language,
        title=Phrase(notice.title, _language_at(notice, "/title")),
        controller=notice.controller.name,
        contact=notice.controller.contact,
        authority=None if authority is None else ", ".join(filter(None, (authority.name, authority.url))),
        withdrawal=Phrase(notice.withdrawal, _language_at(notice, "/withdrawal")),
    )


def _purpose_text(
    notice: NoticeContent, purpose: NoticePurpose, catalogue: Mapping[str, Service], wording: Wording
) -> PurposeText:
    place = f"/purposes/{notice.purposes.index(purpose)}"

    def words(text: str, member: str) -> Phrase:
        return Phrase(text, _language_at(notice, f"{place}/{member}"))

    facts = [Fact(wording["legal_basis"], wording.own(wording[f"legal_basis_{purpose.legal_basis}"]))]
    names = [catalogue[name].name if name in catalogue else name for name in purpose.services]
    if names:
        facts.append(Fact(wording["service"], wording.own(wording.listed(names))))
    if purpose.recipients:
        facts.append(Fact(wording["recipients"], words(wording.listed(purpose.recipients), "recipients")))
    if purpose.storage_locations:
        places = words(wording.listed(purpose.storage_locations), "storage_locations")
        facts.append(Fact(wording["storage_locations"], places))
    if purpose.retention is not None:
        facts.append(Fact(wording["retention"], words(purpose.retention, "retention")))
    if purpose.validity is not None:
        lasts = wording["asked_again"].format(duration=wording.lifetime(purpose.validity))
        facts.append(Fact(wording["duration"], wording.own(lasts)))
    return PurposeText(
        purpose=purpose.purpose,
        notice_id=notice.notice_id,
        legal_basis=purpose.legal_basis,
        services=list(purpose.services),
        title=words(purpose.title, "title"),
        description=words(purpose.description, "description"),
        facts=facts,
    )


def _service_text(name: str, service: Service | None, wording: Wording) -> ServiceText:
    if service is None:
        return ServiceText(name, name, in_catalogue=False, paragraph=None, facts=[])
    if service.policy_paragraph is not None:
        written = wording.phrase(service.policy_paragraph)
        return ServiceText(name, service.name, in_catalogue=True, paragraph=written, facts=[])
    return ServiceText(name, service.name, in_catalogue=True, paragraph=None, facts=list(_facts(service, wording)))


def _facts(service: Service, wording: Wording) -> Iterable[Fact]:
    """What the catalogue knows of a service for which nobody wrote a paragraph."""
    if service.kind is not None:
        yield Fact(wording["kind"], wording.phrase(service.kind))
    if service.operator is not None:
        yield Fact(wording["operator"], wording.own(operator_text(service, wording)))
    for collected in service.data or []:
        yield Fact(wording["receives"], wording.phrase(collected.what))
    for place in hosting_phrases(service, wording):
        yield Fact(wording["hosting"], place)
    for text in transfer_texts(service, wording):
        yield Fact(wording["transfers"], wording.own(text))
    if service.retention is not None:
        yield Fact(wording["retention"], wording.phrase(service.retention))
    if service.erasure_requests is not None:
        yield Fact(wording["erasure"], wording.phrase(service.erasure_requests))


def operator_text(service: Service, wording: Wording) -> str:
    """Name and country of the operator as far as they are known; the service's own name where no source names one."""
    operator = service.operator
    name = service.name if operator is None or operator.name is None else operator.name
    if operator is None or operator.country is None:
        return name
    return f"{name} ({wording.country(operator.country)})"


def hosting_phrases(service: Service, wording: Wording) -> Iterable[Phrase]:
    """Where the data lies: in words where the catalogue has them, else regions and provider."""
    hosting = service.hosting
    if hosting is None:
        return
    if hosting.location is not None:
        yield wording.phrase(hosting.location)
        return
    facts = [*(wording[f"region_{region}"] for region in hosting.regions or []), hosting.provider or ""]
    known = [fact for fact in facts if fact]
    if known:
        yield wording.own(wording.listed(known))


def transfer_texts(service: Service, wording: Wording) -> Iterable[str]:
    """Each transfer with the safeguards that allow it."""
    for transfer in service.transfers or []:
        mechanisms = wording.listed(wording[f"mechanism_{mechanism}"] for mechanism in transfer.mechanisms)
        yield wording["transfer"].format(country=wording.country(transfer.to), mechanisms=mechanisms)
