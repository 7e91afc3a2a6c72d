"""Every limit of the event contract as a named constant with its unit; docs and JSON Schemas repeat them."""

from typing import Final

EVENT_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024
BATCH_EVENTS_MAX: Final = 500

IDENTIFIERS_MAX: Final = 8
IDENTIFIER_CHARS_MAX: Final = 320  # the longest e-mail address of RFC 5321
DECISIONS_MAX: Final = 128
SERVICES_MAX: Final = 128
NAME_CHARS_MAX: Final = 64
TEXT_CHARS_MAX: Final = 512
SIGNAL_CHARS_MAX: Final = 16 * 1024
TOKEN_CHARS_MAX: Final = 1024
EXT_MEMBERS_MAX: Final = 32
REMOVAL_NAMES_MAX: Final = 128
# Of an IP address, by its version.
NETWORK_BITS_KEPT: Final = {4: 24, 6: 48}

# A grant dated further ahead than this is marked: the sender's clock is wrong. It still ranks at the earlier time.
CLOCK_SKEW_S_MAX: Final = 300
# How long what a site's server signed for a visitor who signed in may be used.
IDENTITY_LIFE_S: Final = 3600
# The longest a caller may wait (Prefer: wait=N) for its event to be recorded.
WAIT_S_MAX: Final = 30
