"""What a bundle brings along for its reader to trust or not: the operator's witness policy and authorities' roots.

Both files are the ledger's as well; query only hands them on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml

from schemas.errors import ConfigurationError, ProofError
from schemas.policy import Policy, parse_policy
from schemas.timestamp import PinnedCertificate, read_roots


@dataclass(frozen=True, slots=True)
class Roots:
    """The pinned roots of one timestamp authority, as PEM and read."""

    pem: bytes
    certificates: tuple[PinnedCertificate, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """policy: the witness policy, parsed and as its bytes. roots: authority -> its roots."""

    policy: Policy | None = None
    policy_text: bytes = b""
    roots: Mapping[str, Roots] = field(default_factory=dict)

    @classmethod
    def read(cls, policy_file: Path | None, authorities_file: Path | None) -> Self:
        """Raises ConfigurationError."""
        text = b"" if policy_file is None else _bytes(policy_file)
        try:
            policy = None if policy_file is None else parse_policy(text)
            roots = {} if authorities_file is None else _roots(authorities_file)
        except ProofError as error:
            raise ConfigurationError(f"{error}: correct the witness policy or the authorities' roots") from None
        return cls(policy, text, roots)


def _roots(path: Path) -> dict[str, Roots]:
    try:
        entries = yaml.safe_load(_bytes(path))
        files = {str(entry["name"]): path.parent / str(entry["roots"]) for entry in entries}
    except (yaml.YAMLError, KeyError, TypeError):
        raise ConfigurationError(
            f"{path} does not list authorities with name and roots: see docs/operations.md"
        ) from None
    pems = {name: _bytes(file) for name, file in files.items()}
    return {name: Roots(pem, tuple(read_roots(pem))) for name, pem in pems.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
