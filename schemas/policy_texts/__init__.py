"""The cookie table and the paragraphs of a privacy policy, from a site's notices and the catalogue, in four languages.

It needs babel and jinja2 (the extras ingest and query), which nothing that an auditor runs offline may import.
"""

from schemas.policy_texts.document import PolicyTexts, policy_texts
from schemas.policy_texts.wording import Wording, served_language
from schemas.policy_texts.writing import MEDIA_TYPES, PolicyFormat, written

__all__ = [
    "MEDIA_TYPES",
    "PolicyFormat",
    "PolicyTexts",
    "Wording",
    "policy_texts",
    "served_language",
    "written",
]
