"""`python -m services.ledger`: build the settings from the environment, serve until SIGTERM or SIGINT."""

import asyncio
import gc
import os
import signal
import sys
from typing import Final

import uvloop
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from services.keys.memory import keep_memory_private
from services.ledger.service import LedgerService
from services.ledger.settings import LedgerSettings
from services.observability import configure_logging, describe, get_logger

EXIT_REFUSED: Final = os.EX_CONFIG
EXIT_BUG: Final = os.EX_SOFTWARE
# Objects made and not yet freed before the collector looks for cycles. A batch makes tens of thousands and no cycle:
# at Python's 700, looking for them took a fifth of the CPU time.
COLLECT_AFTER: Final = 100_000


async def serve(settings: LedgerSettings) -> None:
    """Run one ledger; signals stop it after the batch at hand."""
    service = LedgerService(settings)
    # What the start made stays: the collector need not walk over it again.
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    await service.run()


def main() -> int:
    """Exit code: 0 stopped, 78 (EX_CONFIG) refused to start, 70 (EX_SOFTWARE) a bug."""
    keep_memory_private()
    configure_logging("ledger")
    try:
        settings = LedgerSettings()
    except ValidationError as error:
        names = sorted({f"SAYSO_{problem['loc'][0]}".upper() for problem in error.errors(include_input=False)})
        get_logger().error("Refusing to start: settings are missing or not valid.", reason=", ".join(names))
        return EXIT_REFUSED
    try:
        uvloop.run(serve(settings))
    except ConfigurationError as error:
        get_logger().error("Refusing to start.", **describe(error))
        return EXIT_REFUSED
    except Exception as error:  # noqa: BLE001 - the last words of a process that its supervisor starts again
        get_logger().error("The ledger stopped on an error nobody foresaw.", **describe(error))
        return EXIT_BUG
    return 0


if __name__ == "__main__":
    sys.exit(main())
