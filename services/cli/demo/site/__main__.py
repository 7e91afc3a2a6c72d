"""`python -m services.cli.demo.site ENV_FILE PORT`: the demo's shop on 127.0.0.1, until a signal ends it."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from services.cli.demo.site.app import create_shop
from services.cli.demo.stage import read_stage
from services.cli.up.ports import HOST


def main() -> int:
    """The exit code: 0 after a signal."""
    parser = argparse.ArgumentParser(prog="site", description="The demo's shop.")
    parser.add_argument("env_file", type=Path, help="demo.env, as `sayso up --demo` writes it")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    shop = create_shop(read_stage(options.env_file))
    for ending in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again once it has drained.
        signal.signal(ending, _ended)
    # No access log: form posts carry an address, and the demo keeps the rules of the services.
    config = uvicorn.Config(shop, host=HOST, port=options.port, access_log=False, server_header=False, ws="none")
    uvicorn.Server(config).run()
    return 0


def _ended(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
