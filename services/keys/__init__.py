"""Keys: secret files, the key provider, the controllers' keys that it wraps, and the keyed names made with them.

Secrets lie in files of mode 600 or at the provider and are given by reference, never in a setting. Who holds what:
docs/architecture.md.
"""

from services.keys.controller_keys import KEY_CACHE_S, ControllerKeys
from services.keys.files import (
    SECRET_BYTES,
    destroy_secret,
    make_secret,
    read_secret,
    sealing_key,
    signing_key,
    sync_directory,
    write_secret,
)
from services.keys.names import (
    EPOCH_S,
    MAC_BYTES,
    content_mac,
    event_mac,
    identifier_mac,
    key_epoch,
    secret_digest,
)
from services.keys.provider import KeyProvider, SigningKeys, check_provider, open_provider

__all__ = [
    "EPOCH_S",
    "KEY_CACHE_S",
    "MAC_BYTES",
    "SECRET_BYTES",
    "ControllerKeys",
    "KeyProvider",
    "SigningKeys",
    "check_provider",
    "content_mac",
    "destroy_secret",
    "event_mac",
    "identifier_mac",
    "key_epoch",
    "make_secret",
    "open_provider",
    "read_secret",
    "sealing_key",
    "secret_digest",
    "signing_key",
    "sync_directory",
    "write_secret",
]
