"""`python -m services.cli.demo.fetch`: the few options of curl that the demo's commands use, where curl is missing."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx2

TIMEOUT_S: Final = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 for an answer below 400, else 22 like curl's."""
    parser = argparse.ArgumentParser(prog="fetch", description="A stand-in for curl.")
    parser.add_argument("url")
    parser.add_argument("-H", dest="headers", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("-d", dest="body", metavar="BODY", help="post this; @- is standard input")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE")
    parser.add_argument("--retry", type=int, default=0, metavar="TIMES", help="again after 503")
    parser.add_argument("--retry-delay", type=float, default=1.0, metavar="SECONDS")
    options = parser.parse_args(arguments)
    headers = [tuple(header.split(": ", 1)) for header in options.headers]
    body = sys.stdin.buffer.read() if options.body == "@-" else options.body
    method = "GET" if options.body is None else "POST"
    with httpx2.Client(timeout=TIMEOUT_S, trust_env=False) as client:
        for attempt in range(options.retry + 1):
            answer = client.request(method, options.url, headers=headers, content=body)
            if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE or attempt == options.retry:
                break
            time.sleep(options.retry_delay)
    if options.output is None:
        sys.stdout.buffer.write(answer.content)
    else:
        options.output.write_bytes(answer.content)
    return 0 if answer.is_success else 22


if __name__ == "__main__":
    sys.exit(main())
