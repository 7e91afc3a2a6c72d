"""A real OpenID provider, npm's oidc-provider, in a process of this test's own, and somebody who types at a browser."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple, Self

import httpx2

from tests.support.processes import REPOSITORY

PROGRAM = REPOSITORY / "tests" / "openid" / "provider.mjs"
STOP_S = 10
_FORM = re.compile(r'action="(?P<action>[^"]+)"')


class Client(NamedTuple):
    """How the provider knows a deployment."""

    identity: str
    secret: str


class OpenIdProvider:
    """Use it as a context manager; `issuer` is its address."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.issuer = ""

    def __enter__(self) -> Self:
        node = shutil.which("node")
        assert node is not None, "no node: run the tests by make, or put .venv/bin into PATH"
        assert (PROGRAM.parent / "node_modules").is_dir(), "no oidc-provider: make setup installs it"
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                [node, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        assert self._process.stdout is not None
        # It ends with the process, so this waits no longer than the provider lives.
        self.issuer = self._process.stdout.readline().decode().strip()
        assert self.issuer, self._log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        # Not by a signal: .venv/bin/node is a script that runs the real one as its child.
        self._process.communicate(timeout=STOP_S)

    async def register(self, *redirects: str) -> Client:
        """A new client that may be sent back to these addresses."""
        asked = {"redirect_uris": redirects, "response_types": ["code"], "grant_types": ["authorization_code"]}
        async with httpx2.AsyncClient() as client:
            response = await client.post(f"{self.issuer}/reg", json=asked)
        assert response.status_code == 201, response.text
        return Client(response.json()["client_id"], response.json()["client_secret"])

    async def sign_in(self, browser: httpx2.AsyncClient, url: str, name: str) -> str:
        """Type `name` into the provider's pages, which `url` leads to; the address that the browser is sent back to."""
        for _ in range(12):
            response = await browser.get(url)
            while response.status_code in {302, 303}:
                url = str(response.url.join(response.headers["location"]))
                if not url.startswith(self.issuer):
                    return url
                response = await browser.get(url)
            form = _FORM.search(response.text)
            assert response.status_code == 200, response.text
            assert form is not None, response.text
            typed = {"prompt": "login", "login": name, "password": "any"}
            typed = typed if 'name="login"' in response.text else {"prompt": "consent"}
            response = await browser.post(str(response.url.join(form["action"])), data=typed)
            assert response.status_code in {302, 303}, response.text
            url = str(response.url.join(response.headers["location"]))
        raise AssertionError("the provider's pages do not end")
