"""The readable page of one service. No script, no cookie, nothing loaded; everything shown is escaped data."""

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from schemas.catalogue import services
from schemas.catalogue.service import LANGUAGES, CatalogueLanguage, Cookie, Storage
from schemas.policy_texts import Wording
from schemas.policy_texts.document import operator_text, transfer_texts
from schemas.policy_texts.tables import stored_row

_FOLDER: Final = Path(__file__).parent / "templates"
_STYLE: Final = (_FOLDER / "service.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_TEMPLATE: Final = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
).get_template("service.html")


def service_page(service: str, language: CatalogueLanguage) -> Response:
    """The page of a service of our catalogue, in one of its languages."""
    headers = {"content-security-policy": _POLICY, "content-language": language}
    return Response(_rendered(service, language), headers=headers, media_type="text/html")


@lru_cache(maxsize=256)
def _rendered(name: str, language: CatalogueLanguage) -> str:
    catalogue, wording = services(), Wording(language)
    service = catalogue[name]
    stored: list[Cookie | Storage] = [*(service.cookies or []), *(service.storage or [])]
    return _TEMPLATE.render(
        # Our own file, and the policy names its hash.
        style=Markup(_STYLE),  # noqa: S704 - not made of anything that was posted
        service=service,
        t=wording,
        languages=[other for other in LANGUAGES if other != language],
        native={other: Wording(other).language_name(other) for other in LANGUAGES},
        names={known.service: known.name for known in catalogue.values()},
        operator=None if service.operator is None else operator_text(service, wording),
        transfers=list(transfer_texts(service, wording)),
        rows=[stored_row(service, entry, wording) for entry in stored],
        sparse=service.cookies is None and service.tracking is None,
    )
