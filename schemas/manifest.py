"""What lies where in a proof bundle: paths, the manifest, and how a notice is set as text (docs/bundle-format.md).

Invariant: every file of a bundle has one place in the layout, and the manifest names its hash; nothing else is there.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.archive import MANIFEST
from schemas.errors import ProofError
from schemas.note import decode_decimal
from schemas.strict_json import read_canonical, write_json

BUNDLE_FORMAT: Final = "sayso-bundle/v1"
BUNDLE_LEVELS_MAX: Final = 32  # a report holds whole parts, which may have 16 levels of their own

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SLUG: Final = r"[a-z0-9][a-z0-9-]{0,62}"
_UUID_PATTERN = re.compile(_UUID)
_HASH_PATTERN = re.compile(r"[0-9a-f]{64}")
_TIME_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_ALONE: Final = ("README.txt", "report.json", "report.pdf")
_RECEIPT_KEYS: Final = "receipts.jwks"
_CERTIFICATE: Final = "certificate.jws"
_OPTIONAL: Final = ("verify.py", "verify.html", _RECEIPT_KEYS, _CERTIFICATE)
_EVENT_PATH = re.compile(rf"events/(?P<event>{_UUID})/(?P<file>proof\.json|proof\.tlog-proof|receipt\.jws)")
_LOG_PATH = re.compile(rf"logs/(?P<log>{_SLUG})/(?P<file>keys\.json|policy\.txt)")
_CHECKPOINT_PATH = re.compile(rf"logs/(?P<log>{_SLUG})/checkpoints/(?P<size>[0-9]+)\.(?P<file>note|signed)")
_TIMESTAMP_PATH = re.compile(
    rf"logs/(?P<log>{_SLUG})/timestamps/(?P<size>[0-9]+)-(?P<authority>{_SLUG})\.(?P<file>tsr|nonce)"
)
_ROOTS_PATH = re.compile(rf"logs/(?P<log>{_SLUG})/timestamps/(?P<authority>{_SLUG})\.(?P<file>pem)")
_LOG_PATHS: Final = (_LOG_PATH, _CHECKPOINT_PATH, _TIMESTAMP_PATH, _ROOTS_PATH)
_NOTICE_PATH = re.compile(r"notices/(?P<sha256>[0-9a-f]{64})\.(?P<file>json|txt|html)")
_CATALOGUE_PATH = re.compile(rf"catalogue/{_SLUG}\.yaml")


@dataclass(slots=True)
class LogFiles:
    """The files of one log: `files` by their place below logs/LOG/, the size of its checkpoint, and its authorities."""

    files: dict[str, bytes] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    stamped: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """The size of the log's one checkpoint, once `read_contents` has seen that there is one."""
        return next(iter(self.sizes))

    def checkpoint(self, kind: str) -> bytes:
        """The checkpoint as a `note` with cosignatures, or as it was `signed`."""
        return self.files[f"checkpoints/{self.size}.{kind}"]

    def timestamp(self, authority: str, kind: str) -> bytes:
        """The `tsr` or the `nonce` of an authority."""
        return self.files[f"timestamps/{self.size}-{authority}.{kind}"]


@dataclass(slots=True)
class Contents:
    """A bundle by its layout. events: id -> its files by name. notices: hash -> its files by ending."""

    made_at: str
    about: dict[str, Any]
    events: dict[str, dict[str, bytes]] = field(default_factory=dict)
    logs: dict[str, LogFiles] = field(default_factory=dict)
    notices: dict[str, dict[str, bytes]] = field(default_factory=dict)
    catalogue: list[str] = field(default_factory=list)
    report: bytes = b""
    jwks: bytes | None = None
    certificate: bytes | None = None


def write_manifest(made_at: str, about: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """The manifest of these files, which do not hold it yet."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return write_json({"format": BUNDLE_FORMAT, "made_at": made_at, "about": about, "files": hashes})


def read_manifest(files: Mapping[str, bytes]) -> Contents:
    """Check the manifest against the files; return what it says of itself. Raises ProofError."""
    # 1. Its own form.
    value = read_canonical(files[MANIFEST], MANIFEST, levels=BUNDLE_LEVELS_MAX)
    if value.get("format") != BUNDLE_FORMAT:
        raise ProofError(
            f"this is no bundle of the format {BUNDLE_FORMAT}: use the verifier of the version that made it"
        )
    if set(value) != {"format", "made_at", "about", "files"}:
        raise ProofError("the manifest has unknown members or lacks some")
    made_at, about, hashes = value["made_at"], value["about"], value["files"]
    if not isinstance(made_at, str) or _TIME_PATTERN.fullmatch(made_at) is None:
        raise ProofError("the manifest does not say in RFC 3339 when it was made")
    # 2. It names the files that are there, and no others.
    if not isinstance(hashes, dict) or set(hashes) != set(files) - {MANIFEST}:
        raise ProofError("the manifest names other files than are there: some were added, renamed or removed")
    # 3. Each is what it was.
    for name, content in files.items():
        if name != MANIFEST and hashlib.sha256(content).hexdigest() != hashes[name]:
            raise ProofError(f"{name} is not the file that the manifest names: it was changed or damaged")
    return Contents(made_at, _read_about(about))


def _read_about(about: Any) -> dict[str, Any]:
    members = {"event": {"event"}, "subject": {"subject", "complete"}, "erasure": {"subject"}}
    kind = about.get("kind") if isinstance(about, dict) else None
    if not isinstance(about, dict) or kind not in members or set(about) != {"kind"} | members[kind]:
        raise ProofError("the manifest does not say what the bundle is about")
    named = about["event"] if kind == "event" else about["subject"]
    if not (kind == "erasure" and named is None) and not (isinstance(named, str) and _UUID_PATTERN.fullmatch(named)):
        raise ProofError("the manifest does not name its event or subject by a lower-case UUID")
    if kind == "subject" and type(about["complete"]) is not bool:
        raise ProofError("the manifest does not say whether the bundle is complete")
    return about


def read_contents(contents: Contents, files: Mapping[str, bytes]) -> None:
    """Sort the files by the layout into `contents`. Raises ProofError for any without a place, and for missing ones."""
    # 1. Every file has its place.
    for path, content in files.items():
        if path != MANIFEST and path not in _ALONE and path not in _OPTIONAL:
            _place(contents, path, content)
    # 2. What must be there is.
    if missing := [path for path in _ALONE if path not in files]:
        raise ProofError(f"{missing[0]} is missing")
    contents.report, contents.jwks = files["report.json"], files.get(_RECEIPT_KEYS)
    contents.certificate = files.get(_CERTIFICATE)
    if (contents.certificate is None) == (contents.about["kind"] == "erasure"):
        raise ProofError(f"{_CERTIFICATE} must be there for an erasure, and for nothing else")
    signed = contents.certificate is not None or any("receipt.jws" in found for found in contents.events.values())
    if signed != (contents.jwks is not None):
        raise ProofError(f"{_RECEIPT_KEYS} must be there if something in the bundle is signed with them, and only then")
    for event, found in contents.events.items():
        if not {"proof.json", "proof.tlog-proof"} <= set(found):
            raise ProofError(f"events/{event} lacks one spelling of its proof")
    for name, log in contents.logs.items():
        _check_log(name, log)
    for sha256, found in contents.notices.items():
        if not {"json", "txt"} <= set(found):
            raise ProofError(f"notices/{sha256} lacks its bytes or its text")
    # 3. The events are those that it is about.
    about = contents.about
    if not contents.events or (about["kind"] == "event" and set(contents.events) != {about["event"]}):
        raise ProofError("the bundle holds other events than the manifest says it is about")


def _place(contents: Contents, path: str, content: bytes) -> None:
    if match := _EVENT_PATH.fullmatch(path):
        contents.events.setdefault(match["event"], {})[match["file"]] = content
    elif match := _NOTICE_PATH.fullmatch(path):
        contents.notices.setdefault(match["sha256"], {})[match["file"]] = content
    elif _CATALOGUE_PATH.fullmatch(path):
        contents.catalogue.append(path)
    elif match := next(filter(None, (pattern.fullmatch(path) for pattern in _LOG_PATHS)), None):
        log = contents.logs.setdefault(match["log"], LogFiles())
        log.files[path.removeprefix(f"logs/{match['log']}/")] = content
        named = match.groupdict()
        if "size" in named:
            size = decode_decimal(named["size"])
            if size is None:
                raise ProofError(f"{path} has no place in a bundle: its size is not a plain decimal number")
            log.sizes.add(size)
        if "authority" in named:
            log.stamped.add(named["authority"])
    else:
        raise ProofError(f"{path} has no place in a bundle")


def _check_log(name: str, log: LogFiles) -> None:
    if len(log.sizes) != 1:
        raise ProofError(f"logs/{name} does not hold exactly one checkpoint")
    needed = {"keys.json", f"checkpoints/{log.size}.note", f"checkpoints/{log.size}.signed"}
    for authority in log.stamped:
        stem = f"timestamps/{log.size}-{authority}"
        needed |= {f"{stem}.tsr", f"{stem}.nonce", f"timestamps/{authority}.pem"}
    if set(log.files) - {"policy.txt"} != needed:
        raise ProofError(f"logs/{name} lacks a file that belongs to its checkpoint or its timestamps")


def notice_text(notice: Mapping[str, Any]) -> str:
    """A notice for people to read, one spelling for one notice. Raises KeyError or TypeError for no notice of ours."""
    lines = [notice["title"], "", notice["text"], ""]
    for purpose in notice["purposes"]:
        lines += [
            f"- {purpose['title']} [{purpose['purpose']}; {purpose['legal_basis']}]",
            f"  {purpose['description']}",
        ]
        if purpose["services"]:
            lines.append(f"  {', '.join(purpose['services'])}")
    controller = notice["controller"]
    lines += ["", f"{controller['name']}, {controller['contact']}", notice["withdrawal"]]
    if "policy_url" in notice:
        lines.append(notice["policy_url"])
    lines.append(f"[{notice['notice_id']} {notice['version']} {notice['language']}]")
    if "ui_sha256" in notice:
        lines.append(f"[shown by code with the SHA-256 {notice['ui_sha256']}]")
    return "".join(f"{line}\n" for line in lines)


def check_notice(sha256: str, files: Mapping[str, bytes]) -> None:
    """Check that text and HTML are those of the notice's own bytes, and these of its name. Raises ProofError."""
    content = files["json"]
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ProofError(f"notices/{sha256}.json does not have the hash that it is named by")
    notice = read_canonical(content, f"notices/{sha256}.json", controls=True)
    try:
        text, html = notice_text(notice), notice.get("html")
    except (KeyError, TypeError):
        raise ProofError(f"notices/{sha256}.json is not a notice of this version") from None
    if files["txt"] != text.encode():
        raise ProofError(f"notices/{sha256}.txt is not the text of that notice")
    if files.get("html") != (None if html is None else str(html).encode()):
        raise ProofError(f"notices/{sha256}.html is not what that notice says was shown")
