"""The texts as JSON, as a fragment of HTML and as Markdown.

Invariant: every text from a notice or a catalogue is data. HTML is autoescaped; in Markdown whatever could become
markup, a link or HTML is escaped; JSON is plain. A text in another language than the document's is marked with its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Final, Literal

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from schemas.policy_texts.document import PolicyTexts
from schemas.policy_texts.wording import Phrase, Wording, served_language

PolicyFormat = Literal["html", "md", "json"]
MEDIA_TYPES: Final[Mapping[PolicyFormat, str]] = {
    "html": "text/html; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
}
# What can become markup anywhere in a line, and what only at its beginning (CommonMark, 2.4, 4 and 5; GFM tables).
_ANYWHERE: Final = re.compile(r"([\\`*_\[\]<>|~&])")
_AT_THE_START: Final = re.compile(r"^([#+=-]|[0-9]+(?=[.)]))")


def written(texts: PolicyTexts, form: PolicyFormat) -> bytes:
    """The texts in one of the three forms."""
    if form == "json":
        return orjson.dumps(as_json(texts), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    template = _environment(form).get_template(f"policy.{form}.jinja")
    page = template.render(texts=texts, t=Wording(served_language(texts.language)))
    return (page if form == "html" else re.sub(r"\n{3,}", "\n\n", page)).strip().encode() + b"\n"


def as_json(texts: PolicyTexts) -> dict[str, Any]:
    """The texts as JSON values, and `fallbacks`: a pointer to each text in another language, and which it is."""
    fallbacks: list[dict[str, str]] = []
    document: dict[str, Any] = _plain(texts, "", texts.language, fallbacks)
    return {**document, "fallbacks": fallbacks}


def _plain(value: Any, place: str, language: str, fallbacks: list[dict[str, str]]) -> Any:
    if isinstance(value, Phrase):
        if value.language != language:
            fallbacks.append({"pointer": place, "language": value.language})
        return value.text
    if is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name), f"{place}/{field.name}", language, fallbacks)
            for field in fields(value)
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item, f"{place}/{number}", language, fallbacks) for number, item in enumerate(value)]
    return value


class _Written(str):
    """Markdown that was escaped already."""

    __slots__ = ()


def markdown_text(text: str) -> str:
    """Text in which nothing is Markdown any more, on one line."""
    # Spaces that must not break (French before a colon) stay.
    line = re.sub(r"[ \t\r\n\f\v]+", " ", text).strip(" ")
    escaped = _ANYWHERE.sub(r"\\\1", line)
    return _AT_THE_START.sub(_escape_start, escaped)


def _escape_start(match: re.Match[str]) -> str:
    # "1." begins a list unless its point is escaped; the other characters are escaped themselves.
    return f"{match[0]}\\" if match[0].isdecimal() else f"\\{match[0]}"


def _say_markdown(phrase: Phrase, wording: Wording) -> _Written:
    """The phrase, with the name of its language if that is another one."""
    text = markdown_text(phrase.text)
    return _Written(
        text if phrase.language == wording.language else f"{text} ({wording.language_name(phrase.language)})"
    )


def _finalize(value: Any) -> Any:
    return markdown_text(value) if isinstance(value, str) and not isinstance(value, _Written) else value


@cache
def _environment(form: Literal["html", "md"]) -> Environment:
    loader = PackageLoader("schemas.policy_texts")
    if form == "html":
        return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment = Environment(
        loader=loader,
        autoescape=False,  # noqa: S701 - HTML escapes would be wrong in Markdown: `finalize` escapes for that
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.globals["say"] = _say_markdown
    return environment
