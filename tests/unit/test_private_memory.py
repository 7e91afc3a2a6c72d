"""A process that holds keys leaves no core dump, also where the kernel hands dumps to a program."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

SCRIPT = """
import ctypes, resource
from services.keys.memory import keep_memory_private
PR_GET_DUMPABLE = 3
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
before = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE)
keep_memory_private()
print(before, ctypes.CDLL(None).prctl(PR_GET_DUMPABLE), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_core_dumps_are_off() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "0", "0", "0"]
