"""Free TCP ports on 127.0.0.1: the usual ones, the next free ones, or the ones that the operator insists on."""

import os
import socket
from typing import Final

from schemas.errors import ConfigurationError

HOST: Final = "127.0.0.1"
_TRIES: Final = 100


def choose_port(setting: str, usual: int, taken: frozenset[int] = frozenset()) -> int:
    """The port that `setting` names, which must be free, or the first free one from `usual` on.

    Raises ConfigurationError.
    """
    wanted = os.environ.get(setting)
    if wanted:
        if not wanted.isdecimal() or not 1 <= int(wanted) <= 65_535:
            raise ConfigurationError(f"{setting} must be a port, 1 to 65535")
        if not is_free(int(wanted)):
            raise ConfigurationError(
                f"port {wanted}, which {setting} asks for, is taken: stop its server or choose another"
            )
        return int(wanted)
    for port in range(usual, usual + _TRIES):
        if port not in taken and is_free(port):
            return port
    raise ConfigurationError(f"no port from {usual} to {usual + _TRIES - 1} is free: set {setting}")


def is_free(port: int) -> bool:
    """Whether a server could listen there now; connections that a killed server left behind do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
