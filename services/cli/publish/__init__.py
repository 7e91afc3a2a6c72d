"""`sayso publish`: mirrors a log to where a static server or a CDN serves it without Postgres."""

from typing import Final

# Lies at the root of a mirrored directory, is renamed away whenever it is whole, and is written over after a crash.
STAGING_FILE: Final = ".publishing"
