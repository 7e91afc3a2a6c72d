"""What is recorded of the one who asks. The subject comes from the proofs alone; no request can name another.

Invariant: a capability speaks for one browser's number, so it opens the records of that number and of nobody linked to
it: on a shared tablet the next visitor must not read the account of the one before. With the site's word that its
visitor has signed in, it is the account that asks, and sees also the browsers that are linked to it alone.
"""

from uuid import UUID

from schemas.errors import NotFound
from services.keys import event_mac
from services.query.auth import Myself
from services.query.decisions import Decisions, Moment, Page, State
from services.query.receipts import Receipt, ReceiptForm, Receipts
from services.query.store import Store


class Mine:
    """Answers to visitors about themselves."""

    def __init__(self, store: Store, decisions: Decisions, receipts: Receipts, event_id_key: bytes) -> None:
        self._store = store
        self._decisions = decisions
        self._receipts = receipts
        self._event_id_key = event_id_key

    async def choices(self, me: Myself) -> State:
        """What stands now. Raises NotFound if nothing is known of this browser, or not any more."""
        return await self._decisions.state(me.caller, await self._subject(me), Moment(), alone=me.is_browser)

    async def history(self, me: Myself, after: tuple[int, int], most: int) -> Page:
        """One page of the browser's records after a place, with every part. Raises NotFound."""
        return await self._decisions.history(me.caller, await self._subject(me), after, most, alone=me.is_browser)

    async def receipt(self, me: Myself, event: UUID, form: ReceiptForm) -> Receipt:
        """The receipt of one of the browser's own events. Raises NotFound for anybody else's, and as Receipts does."""
        name = event_mac(self._event_id_key, me.caller.controller_name, str(event))
        subject = await self._subject(me)
        async with self._store.reading(me.caller.controller) as reader:
            shown = {subject} if me.is_browser else {subject, *await reader.linked_only_to(subject)}
            if await reader.subject_of_event(name) not in shown:
                raise NotFound
        return await self._receipts.of_event(me.caller, event, form, None)

    async def _subject(self, me: Myself) -> UUID:
        return await self._decisions.find(me.caller, me.identifier)
