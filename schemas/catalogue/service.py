"""The model of one third-party service: facts about an operator, never about a site's visitors.

Strict and closed. Almost every member may be absent, and absent means that no source says it; nothing is guessed. Texts
are in up to four languages. What belongs to a use (a cookie, what its withdrawal needs) names that use.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from schemas.events import LegalBasis, Name, Text

LANGUAGES: Final[tuple["CatalogueLanguage", ...]] = ("en", "fr", "de", "es")
CatalogueLanguage = Literal["en", "fr", "de", "es"]
Category = Literal["necessary", "preferences", "statistics", "marketing"]
Mechanism = Literal["scc", "dpf", "adequacy", "bcr"]
TrackingMethod = Literal["script", "cookies", "storage", "fingerprinting", "websocket", "chatbot", "pixel"]

# Without groups, alternation and lookaround, and with three repetitions at most: it means the same to Python and to a
# browser, and no name makes it run for long.
_PATTERN_FORM: Final = re.compile(r"\^(?:[A-Za-z0-9_.:\-\[\]{}*+?,]|\\[.dw*+?\-\[\]{}])+\$")
# Possessive repetition, {,n} and nested sets: Python and JavaScript read them differently.
_READ_DIFFERENTLY: Final = re.compile(r"[*+?}]\+|\{,|\[\[")
_REPETITIONS_MAX: Final = 3
_SAID_MAX: Final = 4096


def _is_a_pattern(value: str) -> str:
    repetitions = len(re.findall(r"(?<!\\)(?:[*+]|\{)", value))
    if _PATTERN_FORM.fullmatch(value) is None or _READ_DIFFERENTLY.search(value) or repetitions > _REPETITIONS_MAX:
        raise ValueError("a pattern is ^...$ of letters, digits, _ . : - [ ] and at most three * + {n}, without groups")
    try:
        re.compile(value)
    except re.error:
        raise ValueError("the pattern is not a regular expression") from None
    return value


Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Domain = Annotated[str, Field(pattern=r"^([a-z0-9-]+\.)+[a-z]{2,}$", max_length=253)]
Said = Annotated[str, Field(min_length=1, max_length=_SAID_MAX)]
Words = Annotated[dict[CatalogueLanguage, Said], Field(min_length=1)]
ShortWords = Annotated[dict[CatalogueLanguage, Text], Field(min_length=1)]
WordsList = Annotated[list[Words], Field(min_length=1, max_length=64)]
Pattern = Annotated[str, Field(max_length=128), AfterValidator(_is_a_pattern)]
# `session`, or an ISO 8601 duration of one unit: P1Y, P6M, P30D, PT30M.
Lifetime = Annotated[str, Field(pattern=r"^(session|P[1-9][0-9]{0,3}[YMWD]|PT[1-9][0-9]{0,3}[HMS])$")]
CookieName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", max_length=128)]
# A function that hangs on `window`, by its path: called without arguments it ends the service in this page.
CallPath = Annotated[str, Field(pattern=r"^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*){0,4}$", max_length=128)]


class Closed(BaseModel):
    """A part of the catalogue: no other members, no other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Operator(Closed):
    """The company behind a service, as far as a source names it; `country` is an ISO 3166-1 code."""

    name: Text | None = None
    country: Country | None = None
    place: ShortWords | None = None


class Role(Closed):
    """What the operator is under the GDPR, and for which data; with two entries it is both."""

    role: Literal["processor", "controller", "joint_controller"]
    covers: Words


class Hosting(Closed):
    """Where the data lies. `eu_only_region`: whether a region inside the Union alone is offered."""

    regions: Annotated[list[Literal["EEA", "US", "other"]], Field(min_length=1)] | None = None
    provider: Text | None = None
    eu_only_region: bool | None = None
    location: ShortWords | None = None


class Tracking(Closed):
    """How visitors are told apart. `before_choice`: loading the service stores something before anyone chose."""

    methods: Annotated[list[TrackingMethod], Field(min_length=1)]
    how: Words
    before_choice: bool | None = None
    advice: Words | None = None


class Stored(Closed):
    """What every kind of storage says: the use it serves, and what for in words."""

    use: Name | None = None
    purpose: Words


class Cookie(Stored):
    """One cookie by its name, or a family of them by a pattern of names."""

    name: CookieName | None = None
    pattern: Pattern | None = None
    type: Literal["necessary", "functional", "analytics", "marketing"]
    party: Literal["first", "third"] | None = None
    duration: Lifetime | None = None

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if (self.name is None) == (self.pattern is None):
            raise ValueError("a cookie has either a name or a pattern")
        return self


class Storage(Stored):
    """Browser storage other than cookies. Without `key` and `pattern`: no source names its keys."""

    area: Literal["local", "session", "indexed_db"]
    key: Text | None = None
    pattern: Pattern | None = None

    @model_validator(mode="after")
    def _named_at_most_once(self) -> Self:
        if self.key is not None and self.pattern is not None:
            raise ValueError("storage has either a key or a pattern")
        return self


class Collected(Closed):
    """A kind of data, and when it is collected."""

    what: ShortWords
    when: ShortWords | None = None


class Use(Closed):
    """What a site uses the service for, and the legal bases that can carry it; `use` is the purpose a notice asks."""

    use: Name
    title: ShortWords
    legal_basis: Annotated[list[LegalBasis], Field(min_length=1)]
    article: Words | None = None
    why: Words | None = None


class Transfer(Closed):
    """A transfer to a country outside the EEA and what allows it."""

    to: Country
    mechanisms: Annotated[list[Mechanism], Field(min_length=1)]
    article: Words | None = None
    note: Words | None = None


class SubProcessor(Closed):
    """Whom the operator passes data to: a service of the catalogue, or in words where a source gives no name."""

    service: Name | None = None
    what: Words


class Withdrawal(Closed):
    """What must follow at the operator when consent to one use ends, or an objection is made.

    What the browser holds for that use (its cookies and storage) is deleted in any case and need not be listed.
    """

    action: Literal["delete", "anonymise", "delete_or_anonymise", "stop"]
    what: Words


class Stop(Closed):
    """The call that its documentation gives for ending the service in a page; without it the page is loaded anew."""

    call: CallPath


class Dpia(Closed):
    """When an impact assessment is advisable, and what it should look at."""

    recommended_when: WordsList
    points: WordsList


class Alternative(Closed):
    """Another way to the same end: a service of the catalogue, or something that needs none."""

    service: Name | None = None
    why: Words


class ComplianceStep(Closed):
    """Something the site must have done, to be dated by its controller and looked at again a year later."""

    step: Name
    what: Words


class Source(Closed):
    """Where the facts were read."""

    title: Text
    publisher: Text
    year: Annotated[int, Field(ge=2018, le=2100)]


class Service(Closed):
    """One third-party service. An empty list says that there is none; an absent member, that no source says."""

    service: Name
    name: Text
    aliases: Annotated[list[Text], Field(min_length=1, max_length=16)] | None = None
    kind: ShortWords | None = None
    # What a reader should doubt in what the sources say.
    caution: Words | None = None
    operator: Operator | None = None
    used_by: Words | None = None
    integrations: Annotated[list[Text], Field(max_length=64)] | None = None
    roles: Annotated[list[Role], Field(min_length=1, max_length=8)] | None = None
    category: Category | None = None
    risk: Literal["low", "medium", "high"] | None = None
    regulations: Annotated[list[Text], Field(min_length=1, max_length=32)] | None = None
    hosting: Hosting | None = None
    tracking: Tracking | None = None
    domains: Annotated[list[Domain], Field(max_length=64)] | None = None
    cookies: Annotated[list[Cookie], Field(max_length=128)] | None = None
    storage: Annotated[list[Storage], Field(max_length=128)] | None = None
    data: Annotated[list[Collected], Field(max_length=64)] | None = None
    uses: Annotated[list[Use], Field(min_length=1, max_length=32)] | None = None
    transfers: Annotated[list[Transfer], Field(max_length=32)] | None = None
    sub_processors: Annotated[list[SubProcessor], Field(max_length=64)] | None = None
    ai_addons: Annotated[list[Words], Field(max_length=32)] | None = None
    retention: Words | None = None
    withdrawal: dict[Name, Withdrawal] | None = None
    # Where a person's request for erasure goes, and who passes it on.
    erasure_requests: Words | None = None
    stop: Stop | None = None
    dpia: Dpia | None = None
    alternatives: Annotated[list[Alternative], Field(max_length=32)] | None = None
    compliance: Annotated[list[ComplianceStep], Field(min_length=1, max_length=32)] | None = None
    consent_text: Words | None = None
    policy_paragraph: Words | None = None
    sources: Annotated[list[Source], Field(min_length=1, max_length=16)] | None = None

    @model_validator(mode="after")
    def _uses_fit_together(self) -> Self:
        uses = [use.use for use in self.uses or []]
        if len(set(uses)) < len(uses):
            raise ValueError("two uses have the same name")
        stored = {entry.use for entry in [*(self.cookies or []), *(self.storage or [])]} - {None}
        if not stored <= set(uses):
            raise ValueError("a cookie or a storage entry serves a use that `uses` does not name")
        if self.withdrawal is not None and set(self.withdrawal) != set(uses):
            raise ValueError("withdrawal must name exactly the uses")
        steps = [step.step for step in self.compliance or []]
        if len(set(steps)) < len(steps):
            raise ValueError("two compliance steps have the same name")
        return self


def said(words: Mapping[CatalogueLanguage, str], language: str) -> tuple[str, CatalogueLanguage]:
    """The text and the language it really is in: the one asked for, else English, else the first there is."""
    wanted = language.partition("-")[0].lower()
    for candidate in (wanted, "en", *LANGUAGES):
        for name, text in words.items():
            if name == candidate:
                return text, name
    raise AssertionError("the model refuses a text without a language")
