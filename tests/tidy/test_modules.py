"""No dead module, every folder a package, and the offline verifier stands on almost nothing."""

from pathlib import PurePosixPath

import pytest

from tests.tidy.module_rules import OFFLINE_MODULES, dead_modules, imported, module_name, offline_imports
from tests.tidy.repository import select, violations

pytestmark = pytest.mark.tidy

PACKAGE_FOLDERS = ("schemas", "services", "tests", "bench")


def folders_without_init(paths: list[str]) -> list[str]:
    """Folders with Python files and no __init__.py: pytest and mypy would give two files one name."""
    folders = {str(PurePosixPath(path).parent) for path in paths}
    parents = {str(parent) for folder in folders for parent in PurePosixPath(folder).parents if str(parent) != "."}
    return sorted(folder for folder in folders | parents if f"{folder}/__init__.py" not in paths)


def test_every_folder_is_a_package() -> None:
    assert folders_without_init([path for path, _ in select(".py", *PACKAGE_FOLDERS)]) == []


def test_a_folder_without_init_is_found() -> None:
    assert folders_without_init(["tests/__init__.py", "tests/unit/test_x.py"]) == ["tests/unit"]


def test_no_module_is_dead() -> None:
    files = select(".py", "schemas", "services", "bench", "deploy", "tests")
    code = ("schemas/", "services/", "bench/", "deploy/")
    broken = dead_modules(files, used_by=code, watched=("schemas/", "services/", "bench/"))
    broken += dead_modules(files, used_by=("tests/",), watched=("tests/support/",))
    assert not broken, "\n" + "\n".join(broken)


def test_a_dead_module_is_found() -> None:
    files = [
        ("services/a.py", '"""A."""\n'),
        ("services/b.py", "from services import c\n"),
        ("services/c.py", "import services.b\n"),
        ("tests/test_a.py", "import services.a\n"),
    ]
    broken = dead_modules(files, used_by=("services/",), watched=("services/",))
    assert [line.partition(":")[0] for line in broken] == ["services/a.py"]


def test_offline_modules_stay_offline() -> None:
    broken = violations(offline_imports, select(".py", "schemas"))
    assert not broken, "\n" + "\n".join(broken)


def test_offline_modules_exist() -> None:
    present = {module_name(path) for path, _ in select(".py", "schemas")}
    assert set(OFFLINE_MODULES) <= present


@pytest.mark.parametrize("line", ["import pydantic", "from schemas import events", "import orjson"])
def test_an_online_import_is_found(line: str) -> None:
    assert offline_imports("schemas/merkle.py", f"{line}\n")


def test_relative_imports_are_resolved() -> None:
    assert "services.ledger.chain" in imported("services/ledger/store.py", "from . import chain\n")
    assert "services.keys" in imported("services/ledger/store.py", "from ..keys import wrap\n")
