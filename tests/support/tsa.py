"""A timestamp authority of this machine: `openssl ts -reply` behind a small HTTP server, with a root of its own.

No real authority can be had in a test; what signs is the real thing. `answer` makes one misbehave.
"""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.ledger.evidence.authorities import Authority, read_authorities
from services.ledger.evidence.timestamp_check import timestamp_request
from tests.support.tsa_tokens import POLICY, Identity, issue

SECTION = "tsa_config1"
CONFIG = """[tsa_config1]
serial={folder}/serial
crypto_device=builtin
signer_cert={folder}/signer.pem
certs={folder}/{certificates}
signer_key={folder}/signer.key
signer_digest=sha256
default_policy={policy}
other_policies=1.2.3.4.2
digests=sha256,sha384,sha512
accuracy=secs:1
ordering=yes
tsa_name=yes
ess_cert_id_chain=no
ess_cert_id_alg=sha256
"""

# Takes the request, gives the status and the body of the answer.
Answer = Callable[[bytes], tuple[int, bytes]]


class TimestampAuthority:
    """One authority: `name`, `url` while it is served, `roots_pem` (a path), `stamp(data)` and `reply(request)`."""

    def __init__(
        self,
        folder: Path,
        name: str = "local",
        *,
        chain: bool = False,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        """With `chain` there is an intermediate authority, and OpenSSL writes the certificates unsorted."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.folder = folder
        self.root = issue(f"{name} root", ca=True)
        above = issue(f"{name} issuer", self.root, ca=True) if chain else self.root
        # Longer than the certificates above it, which is what makes the SET unsorted.
        subject = f"{name} signer of timestamps" + chain * " for a test"
        self.signer: Identity = issue(subject, above, start=start, end=end)
        self.roots_pem = folder / "roots.pem"
        self.roots_pem.write_bytes(self.root.root_pem)
        key = self.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "signer.key").write_bytes(key)
        (folder / "signer.pem").write_bytes(self.signer.certificate.public_bytes(Encoding.PEM))
        chained = b"".join(one.public_bytes(Encoding.PEM) for one in (self.signer.certificate, *self.signer.above))
        (folder / "chain.pem").write_bytes(chained)
        (folder / "serial").write_text("01\n")
        certificates = "chain.pem" if chain else "signer.pem"
        (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder, certificates=certificates, policy=POLICY))
        # OpenSSL bumps the serial file without a lock.
        self._one_at_a_time = threading.Lock()
        self.answer: Answer = lambda request: (200, self.reply(request))
        self.asked = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/tsr"

    @property
    def entry(self) -> str:
        """The lines of the authorities file."""
        return f"- name: {self.name}\n  url: {self.url}\n  roots: {self.roots_pem}\n"

    def pinned(self, policy: str | None = None) -> Authority:
        """As the ledger reads it from the authorities file."""
        path = self.folder / "authorities.yaml"
        path.write_text(self.entry + (f"  policy: {policy}\n" if policy else ""))
        return read_authorities(path)[0]

    def reply(self, request: bytes) -> bytes:
        """What `openssl ts -reply` answers: a TimeStampResp."""
        with self._one_at_a_time:
            query, answer = self.folder / "request.tsq", self.folder / "answer.tsr"
            query.write_bytes(request)
            command = ["openssl", "ts", "-reply", "-config", str(self.folder / "tsa.cnf"), "-section", SECTION]
            command += ["-queryfile", str(query), "-out", str(answer)]
            subprocess.run(command, check=True, capture_output=True)
            return answer.read_bytes()

    def stamp(self, data: bytes, nonce: bytes = bytes(range(8)), policy: str | None = None) -> bytes:
        """The TimeStampResp over SHA-256 of `data`, asked for with this nonce of 8 bytes."""
        return self.reply(timestamp_request(sha256(data).digest(), nonce, policy))

    @contextmanager
    def served(self) -> Iterator["TimestampAuthority"]:
        """Answer over HTTP on a free port, or on the port it had before."""
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = self.rfile.read(int(self.headers["Content-Length"]))
                authority.asked += 1
                status, body = authority.answer(request)
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Nothing on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def authorities_file(path: Path, *authorities: TimestampAuthority) -> Path:
    """Write the file that SAYSO_TIMESTAMP_AUTHORITIES_FILE names."""
    path.write_text("".join(authority.entry for authority in authorities))
    return path
