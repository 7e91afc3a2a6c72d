"""Rotation of the root key: every controller key is wrapped anew, file by file, then the old root is destroyed.

A crash at any point leaves files under either root, and both readable: the same command goes on from there. Services
need not stop: what wraps meanwhile uses the new root, what unwraps tries both.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

from schemas.errors import ConfigurationError
from services.keys.controller_keys import only_writer
from services.keys.files import replace_secret
from services.keys.provider import KeyProvider, RootRotation


def rotate_root(directory: Path, provider: KeyProvider, progress: Callable[[int], None]) -> str:
    """Wrap every controller key below `directory` under a new root of the same provider.

    1. The new root, durably; 2. file after file, each replaced as a whole; 3. once more those that were made meanwhile,
    while nobody can make another; 4. the old root is destroyed: a sentence that says so.
    Raises ConfigurationError or KeyProviderAway; what is done stays done.
    """
    if not isinstance(provider, RootRotation):
        raise ConfigurationError(
            "this key provider never destroys the old material of its root key: make another key there, and name it "
            "with --to"
        )
    new = provider.begin_root_rotation()
    done = rewrap_all(directory, provider, new, progress)
    with only_writer(directory):
        for name in _names(directory, done):
            _rewrap(directory, name, provider, new)
        return provider.end_root_rotation()


def rewrap_all(directory: Path, old: KeyProvider, new: KeyProvider, progress: Callable[[int], None]) -> set[str]:
    """Wrap every controller key by `new` that is not yet; the names of all. `progress` is told how many are done."""
    done: set[str] = set()
    for name in _names(directory, done):
        with only_writer(directory):
            _rewrap(directory, name, old, new)
        done.add(name)
        progress(len(done))
    return done


def _names(directory: Path, done: AbstractSet[str]) -> list[str]:
    names = (f"{path.parent.name}/{path.name}" for path in sorted(directory.glob("*/*.key")))
    return [name for name in names if name not in done]


def _rewrap(directory: Path, name: str, old: KeyProvider, new: KeyProvider) -> None:
    path = directory / name
    if not path.exists():
        return  # destroyed meanwhile, and it must stay so
    blob = path.read_bytes()
    try:
        new.unwrap(name, blob)
    except ConfigurationError:
        replace_secret(path, new.wrap(name, old.unwrap(name, blob)))
