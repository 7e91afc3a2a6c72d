"""Secrets in memory stay there: no core dump is written of a process that holds keys or opened events.

Invariant: called first thing by each service, before a key is read.
"""

import ctypes
import os
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """Core dumps off, and with them a debugger of the same user. Raises OSError if the kernel refuses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Where core_pattern names a program, as on most distributions, the kernel does not look at the limit.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
