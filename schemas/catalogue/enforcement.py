"""What the script in a page needs of the catalogue to hold services back and to clean up after them.

Only what a source names can be deleted by name: storage without a key is left to what the page itself saw appear.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.catalogue.service import Cookie, Service, Storage


def enforcement_rules(catalogue: Mapping[str, Service], named: Iterable[str]) -> dict[str, Any]:
    """{"services": {NAME: {name, uses, domains, stop?, text?}}} for the services named, as far as they are known.

    uses: {USE: {legal_basis: [..], cookies: [{name} | {pattern}], storage: [{area, key} | {area, pattern}]}}. stop:
    {call: a function's path on `window`}; without it the page is loaded anew. text: consent texts by language.
    """
    return {"services": {name: _rules_of(catalogue[name]) for name in sorted(set(named)) if name in catalogue}}


def _rules_of(service: Service) -> dict[str, Any]:
    cookies, storage = service.cookies or [], service.storage or []
    rules: dict[str, Any] = {
        "name": service.name,
        "uses": {
            use.use: {
                "legal_basis": use.legal_basis,
                "cookies": [_cookie(cookie) for cookie in cookies if cookie.use == use.use],
                "storage": [rule for entry in storage if entry.use == use.use for rule in _storage(entry)],
            }
            for use in service.uses or []
        },
        "domains": service.domains or [],
    }
    if service.stop is not None:
        rules["stop"] = {"call": service.stop.call}
    if service.consent_text is not None:
        rules["text"] = service.consent_text
    return rules


def _cookie(cookie: Cookie) -> dict[str, str]:
    return {"name": cookie.name} if cookie.name is not None else {"pattern": str(cookie.pattern)}


def _storage(entry: Storage) -> list[dict[str, str]]:
    if entry.key is not None:
        return [{"area": entry.area, "key": entry.key}]
    return [] if entry.pattern is None else [{"area": entry.area, "pattern": entry.pattern}]
