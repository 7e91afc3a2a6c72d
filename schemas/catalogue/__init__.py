"""The catalogue of third-party services and usual purposes, one YAML file each, in strict closed models.

It holds facts about operators with their sources, never anything about a site's visitors. docs/catalogue.md
"""

from schemas.catalogue.doubting import doubts
from schemas.catalogue.reading import (
    DIRECTORY,
    PURPOSES_DIRECTORY,
    catalogue_services,
    load_purposes,
    load_service,
    services,
    usual_purposes,
)
from schemas.catalogue.service import Service, said

__all__ = [
    "DIRECTORY",
    "PURPOSES_DIRECTORY",
    "Service",
    "catalogue_services",
    "doubts",
    "load_purposes",
    "load_service",
    "said",
    "services",
    "usual_purposes",
]
