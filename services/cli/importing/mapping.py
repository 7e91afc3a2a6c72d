"""What the columns of an export mean: a mapping file in YAML, or one of the presets beside this module.

Invariant: nothing is guessed. What a mapping does not name is not imported; a value it does not know is reported.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import ConfigurationError
from schemas.event_types import EventType
from schemas.events import IdentifierType, Language, LegalBasis, Name, Sha256, Text

PRESETS: Final = Path(__file__).parent / "presets"

# A column of a CSV file; in NDJSON a path with dots into the object.
Column = Text


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class IdentifierColumn(_Closed):
    """Where one identifier stands; empty cells are left out."""

    type: IdentifierType
    column: Column


class TimeColumn(_Closed):
    """When the act was done. ISO 8601, whole seconds or milliseconds since 1970, or a format of strptime."""

    column: Column
    form: Literal["iso", "seconds", "milliseconds"] | None = None
    format: Text | None = None
    # Of times that name none, as in the tz database.
    zone: Text = "UTC"

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.form is None) == (self.format is None):
            raise ValueError("say form or format")
        return self


class Act(_Closed):
    """What shows that the person did something; `none_in` are cells that show the contrary."""

    column: Column | None = None
    always: bool = False
    none_in: list[str] = Field(default_factory=list)
    type_of: dict[str, EventType] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.column is None) != self.always:
            raise ValueError("say column, or always: true")
        return self


class Columns(_Closed):
    """A column a purpose."""

    columns: Annotated[dict[Name, Column], Field(min_length=1)]


class Rows(_Closed):
    """One purpose a line: its name in one column, the answer in another."""

    purpose: Column
    decision: Column


class Lists(_Closed):
    """Lists of names: those that were agreed to, those that were not. Text is split at `separator`."""

    granted: Column
    denied: Column | None = None
    separator: Text = ","


class Object(_Closed):
    """An object, name to answer; in CSV as JSON text."""

    object: Column


class Items(_Closed):
    """A list of objects, each with a name and an answer."""

    items: Column
    name: Text
    decision: Text


class NoticeColumn(_Closed):
    """Which words were shown: a version in a column, and the hash of the published notice that has them."""

    column: Column
    hashes: Annotated[dict[str, Sha256], Field(min_length=1)]


class Mapping(_Closed):
    """One kind of export."""

    about: Text
    format: Literal["csv", "ndjson"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    # The line's own id: the same line in another export is then the same event.
    id: Column | None = None
    identifiers: Annotated[list[IdentifierColumn], Field(min_length=1)]
    time: TimeColumn
    act: Act
    decisions: Columns | Rows | Lists | Object | Items
    # Names in the export to purposes of the site's notices; `ignore` are those that nobody is asked about.
    purposes: dict[str, Name] = Field(default_factory=dict)
    ignore: list[str] = Field(default_factory=list)
    # Answers, compared without regard to case. In YAML, yes and no must stand in quotes.
    granted: list[str] = Field(default_factory=lambda: ["true", "1", "yes", "granted"])
    denied: list[str] = Field(default_factory=lambda: ["false", "0", "no", "denied"])
    legal_basis: LegalBasis = "consent"
    language: Language
    notice: NoticeColumn | None = None


def read_mapping(value: Any) -> Mapping:
    """Raises ConfigurationError that names the member at fault."""
    try:
        return Mapping.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(step) for step in first["loc"])
        raise ConfigurationError(f"the mapping is not valid at /{place}: {first['msg']}") from None


def presets() -> dict[str, Path]:
    """Mappings that come with Sayso, by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
