"""Usual purposes without a third party (accounts, billing, newsletters), one YAML file a kind of controller."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.catalogue.service import Closed, Source
from schemas.events import LegalBasis, Name, Text

Sentences = Annotated[list[Text], Field(min_length=1)]


class UsualPurpose(Closed):
    """A purpose without a third-party service, its ground and how long its data is kept."""

    purpose: Name
    legal_basis: Annotated[list[LegalBasis], Field(min_length=1)]
    what: Text
    cookies: Literal["none", "strictly_necessary", "after_consent"]
    data: Sentences
    kept: Text
    kept_days_after: Annotated[int, Field(ge=0, le=3650)] | None = None


class PurposeSet(Closed):
    """The usual purposes of one kind of controller."""

    set: Name
    age_minimum: Annotated[int, Field(ge=13, le=21)]
    answer_requests_within_days: Annotated[int, Field(ge=1, le=90)]
    purposes: Annotated[list[UsualPurpose], Field(min_length=1)]
    sources: Annotated[list[Source], Field(min_length=1)]
