"""Receipts of consent: what a subject or a site keeps, signed for any JOSE library, with the record's proof inside.

Invariant: a receipt is made from a proof that was disclosed to the caller, so it says no more than the role may see.
"""

import base64
from collections.abc import Callable, Collection
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

from schemas.bundle import Bundle
from schemas.canonical import canonical_json
from schemas.catalogue import services
from schemas.errors import NotFound
from schemas.notices import NoticeContent
from schemas.parties import ControllerDetails
from schemas.receipts import Closed, Stated
from schemas.receipts_27560 import receipt_27560
from schemas.receipts_kantara import receipt_kantara
from schemas.receipts_verify import RECEIPT_ALGORITHM, RECEIPT_TYPE
from schemas.record import PartName, read_entry
from schemas.sealing import key_id
from services.query.auth import Caller
from services.query.proofs import Proofs
from services.query.store import Reader, Store

ReceiptForm = Literal["iso27560", "kantara"]
_FORMS: Final[dict[ReceiptForm, Callable[[Stated], Closed]]] = {
    "iso27560": receipt_27560,
    "kantara": receipt_kantara,
}


class Receipt(NamedTuple):
    """One receipt: the JWS in compact form, and the claims it signs."""

    jws: str
    claims: dict[str, Any]


class _Registry(jws.JWSRegistry):
    """Signs with EdDSA without a warning at each receipt: RFC 9864 has renamed it Ed25519, which few libraries know."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


class Receipts:
    """Makes receipts, and signs other answers that are kept; holds the key for that and no other."""

    def __init__(self, store: Store, proofs: Proofs, key: Ed25519PrivateKey) -> None:
        self._store = store
        self._proofs = proofs
        self._kid = key_id(key.public_key()).hex()
        self._public = {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_key().public_bytes_raw())}
        self._key = OKPKey.import_key({**self._public, "d": _base64url(key.private_bytes_raw())})
        self._registry = _Registry(algorithms=[RECEIPT_ALGORITHM])

    def jwks(self) -> dict[str, Any]:
        """The public key, as a JWK set (RFC 7517, 5)."""
        return {"keys": [{**self._public, "kid": self._kid, "alg": RECEIPT_ALGORITHM, "use": "sig"}]}

    async def of_event(
        self, caller: Caller, event_id: UUID, form: ReceiptForm, wanted: Collection[PartName] | None
    ) -> Receipt:
        """The receipt of an event, disclosing the parts wanted besides `what`; `who` if the role may see it when None.

        Raises what Proofs.bundle does, NoConsentStated and ReceiptIncomplete.
        """
        # The circumstances in `context` are nobody's to keep: they are given only to who asks for them by name.
        parts: set[PartName] = set(caller.parts) - {"context"} if wanted is None else {"what", *wanted}
        return await self.issue(caller, await self._proofs.bundle(caller, event_id, parts), form)

    async def issue(self, caller: Caller, bundle: Bundle, form: ReceiptForm) -> Receipt:
        """The receipt of a proven event. Raises NotFound if `what` is gone, NoConsentStated and ReceiptIncomplete.

        1. Read the decision; 2. find the notice that was shown, the subject and the controller; 3. fill; 4. sign.
        """
        if "what" not in bundle.disclosed:
            raise NotFound
        what: dict[str, Any] = orjson.loads(bundle.disclosed["what"][1])
        async with self._store.reading(caller.controller, caller.scope) as reader:
            facts = await reader.receipt_facts(bundle.origin, bundle.index)
            content, words = await _notice(reader, bundle, what)
        if facts is None:
            raise NotFound
        subject, details = facts["subject"], facts["details"]
        receipt = _FORMS[form](
            Stated(
                bundle=bundle,
                what=what,
                # Who is not known is named by the record's own random id, which is found nowhere else.
                principal=f"nobody:{read_entry(bundle.entry)['ref']}" if subject is None else str(subject),
                notice=None if content is None else NoticeContent.model_validate_json(content),
                notice_sha256=what.get("notice", {}).get("sha256"),
                words=words,
                controller=None if details is None else ControllerDetails.model_validate_json(details),
                catalogue=services(),
            )
        )
        claims = receipt.model_dump(by_alias=True, exclude_none=True)
        return Receipt(self.sign(claims, RECEIPT_TYPE), claims)

    def sign(self, claims: dict[str, Any], kind: str) -> str:
        """The JWS of canonical JSON, in compact form; `kind` is its `typ`."""
        header = {"alg": RECEIPT_ALGORITHM, "kid": self._kid, "typ": kind}
        return jws.serialize_compact(header, canonical_json(claims), self._key, registry=self._registry)


async def _notice(reader: Reader, bundle: Bundle, what: dict[str, Any]) -> tuple[bytes | None, Any]:
    """The content of the notice that was shown, and how sure that is: one matched since stands for an unknown hash."""
    words = what["words"]
    if bundle.notice is not None or "notice" not in what:
        return bundle.notice, words
    shown = bytes.fromhex(what["notice"]["sha256"])
    for match in await reader.matches([shown]):
        return await reader.notice_content(match["notice"]), "matched" if words == "unverified" else words
    # Published after the event came: its words are known now, and the record still says that they were not then.
    return await reader.notice_content(shown), words


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
