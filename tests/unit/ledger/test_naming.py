"""The fast way to name many things under one key gives the names that everybody else computes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.keys import Naming, event_mac, event_naming, identifier_mac, identifier_text

pytestmark = pytest.mark.unit

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS, st.text(max_size=70), st.text(max_size=70))
def test_an_event_has_one_name(key: bytes, controller: str, event_id: str) -> None:
    assert event_naming(key, controller).name(event_id.encode()) == event_mac(key, controller, event_id)


@given(KEYS, st.sampled_from(["cookie", "email", "phone"]), st.text(max_size=320))
def test_an_identifier_has_one_name(key: bytes, kind: str, value: str) -> None:
    naming = Naming(key)
    assert naming.name(identifier_text(kind, value)) == identifier_mac(key, kind, value)
    # A naming is used for a whole batch: naming one thing leaves nothing behind for the next.
    assert naming.name(identifier_text(kind, value)) == identifier_mac(key, kind, value)
