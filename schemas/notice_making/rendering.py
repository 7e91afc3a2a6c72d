"""A notice drawn as HTML, in its own language: what GDPR Art. 13 wants told, and what is asked. One line, no script.

The HTML is part of the notice and so of its hash: it is kept exactly as it was drawn.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from schemas.notices import NoticeContent
from schemas.policy_texts.wording import Wording, served_language

_HERE: Final = Path(__file__).parent
_PARTS: Final = re.compile(r"[0-9]+[YMWD]")


def render(notice: NoticeContent, services: Mapping[str, str]) -> str:
    """HTML of one line. `services` are names to show instead of those in the notice.

    Labels come in English, French, German or Spanish; for every other language in English, and marked so.
    """
    language = served_language(notice.language)
    page = _environment().get_template("notice.html.jinja")
    wording = Wording(language)
    html = page.render(
        notice=notice,
        services=services,
        label=_labels(language),
        labels_language=language,
        wording=wording,
        lasting=lambda duration: wording.listed(wording.lifetime(f"P{part}") for part in _PARTS.findall(duration)),
    )
    return re.sub(r"\s+", " ", html).strip()


@cache
def _labels(language: str) -> Mapping[str, Any]:
    found: dict[str, Any] = yaml.safe_load((_HERE / "labels" / f"{language}.yaml").read_text(encoding="utf-8"))
    return found


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=select_autoescape(["jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
