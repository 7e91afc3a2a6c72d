"""Which timestamp authorities are asked, from the operator's YAML file; a mistake in it is a ConfigurationError.

Invariant: an authority comes with the roots it is held to; nothing that it sends along is trusted by itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx2
import yaml
from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.errors import ConfigurationError, ProofError
from schemas.timestamp import PinnedCertificate, is_root, read_roots

_ADVICE: Final = "see docs/operations.md, 'Timestamps'"


class _AuthorityEntry(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    url: Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(/[^\s#]*)?$", max_length=2000)]
    roots: Annotated[str, Field(min_length=1)]
    policy: Annotated[str, Field(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+$", max_length=64)] | None = None


_ENTRIES: Final = TypeAdapter(Annotated[list[_AuthorityEntry], Field(min_length=1)])


@dataclass(frozen=True, slots=True)
class Authority:
    """One timestamp authority.

    name: a slug; it stands in metrics and file names. url: where requests are posted. roots_file: its pinned roots in
    PEM, as files for OpenSSL; roots: the same, read. policy: the dotted policy to ask for and insist on, or None.
    """

    name: str
    url: str
    roots_file: Path
    roots: tuple[PinnedCertificate, ...]
    policy: str | None


def read_authorities(path: Path | None) -> tuple[Authority, ...]:
    """The authorities of a YAML file; none without a file. Roots lie beside it. Raises ConfigurationError."""
    if path is None:
        return ()
    try:
        entries = _ENTRIES.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(step) for step in first["loc"])
        raise ConfigurationError(f"{path} is not valid at /{place}: {first['msg']}; {_ADVICE}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read as YAML ({type(error).__name__}); {_ADVICE}") from None
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{path} names an authority twice; {_ADVICE}")
    return tuple(_authority(entry, path.parent) for entry in entries)


def _authority(entry: _AuthorityEntry, folder: Path) -> Authority:
    try:
        # One reads the port, the other the name of the host.
        _ = urlsplit(entry.url).port, httpx2.URL(entry.url)
        policy = None if entry.policy is None else x509.ObjectIdentifier(entry.policy).dotted_string
    except (httpx2.InvalidURL, ValueError):
        raise ConfigurationError(f"the url or the policy of {entry.name} is not one; {_ADVICE}") from None
    roots_file = (folder / entry.roots).absolute()
    try:
        roots = read_roots(roots_file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read the roots of {entry.name} in {roots_file}: {error.strerror}") from None
    except ProofError:
        raise ConfigurationError(
            f"{roots_file} holds no certificates in PEM: put the roots of {entry.name} there"
        ) from None
    if not all(is_root(root) for root in roots):
        raise ConfigurationError(f"{roots_file} holds a certificate that is no root: pin self-signed authorities only")
    return Authority(entry.name, entry.url, roots_file, tuple(roots), policy)
