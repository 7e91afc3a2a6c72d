"""House rules over all Python files together: no dead module, and what an auditor runs stands on almost nothing.

Import-linter keeps the layers; what it has no contract for, an allow-list of imports, is here.
"""

import ast
import sys

# Started by name (console script, `python -m`, uvicorn), so that nothing imports them.
ENTRY_POINTS = {"services.cli.main", "schemas.verifier.build", "schemas.verifier.build_page", "schemas.verify"}
# A module of these an auditor copies and runs on a machine of their own.
OFFLINE_MODULES = {
    "schemas.answers": {"cryptography", "orjson"},
    "schemas.archive": set[str](),
    "schemas.bundle": {"cryptography"},
    "schemas.bundle_check": {"cryptography"},
    "schemas.canonical": {"orjson"},
    "schemas.checkpoint": {"cryptography"},
    "schemas.consistency": {"cryptography", "orjson"},
    "schemas.der": set[str](),
    "schemas.errors": set[str](),
    "schemas.limits": set[str](),
    "schemas.log_keys": {"cryptography"},
    "schemas.manifest": {"cryptography"},
    "schemas.merkle": set[str](),
    "schemas.mirror": {"cryptography", "orjson"},
    "schemas.note": {"cryptography"},
    "schemas.payload": {"cryptography"},
    "schemas.policy": {"cryptography"},
    "schemas.proof": {"cryptography", "orjson"},
    "schemas.receipts_verify": {"cryptography"},
    "schemas.record": {"cryptography", "orjson"},
    "schemas.steps": set[str](),
    "schemas.strict_json": set[str](),
    "schemas.tiles": set[str](),
    "schemas.timestamp": {"cryptography"},
    "schemas.timestamp_token": set[str](),
    "schemas.verify": {"cryptography", "orjson"},
}


def module_name(path: str) -> str:
    """services/ledger/chain.py -> services.ledger.chain, and a package's __init__.py -> the package."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported(path: str, text: str) -> set[str]:
    """Every module named by an import, and every `from package import name` as package.name too."""
    package = module_name(path) if path.endswith("__init__.py") else module_name(path).rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def dead_modules(files: list[tuple[str, str]], *, used_by: tuple[str, ...], watched: tuple[str, ...]) -> list[str]:
    """Modules of the watched folders that no file of the using folders imports (or names as a string, for uvicorn)."""
    users = [(path, text) for path, text in files if path.startswith(used_by)]
    imports = {path: imported(path, text) for path, text in users}
    found = []
    for path, text in files:
        name = module_name(path)
        if not path.startswith(watched) or not text.strip() or path.endswith(("__main__.py", "__init__.py")):
            continue
        if name in ENTRY_POINTS or any(name in names for user, names in imports.items() if user != path):
            continue
        if any(f'"{name}' in user_text for user, user_text in users if user != path):
            continue
        found.append(f"{path}: nothing in {', '.join(used_by)} imports it: remove it, or name it in ENTRY_POINTS")
    return found


def offline_imports(path: str, text: str) -> list[str]:
    """An offline module imports the standard library, its own few third parties, and other offline modules."""
    name = module_name(path)
    if name not in OFFLINE_MODULES:
        return []
    third_parties = OFFLINE_MODULES[name]
    found = []
    for module in sorted(imported(path, text)):
        top = module.partition(".")[0]
        ours = module in OFFLINE_MODULES or module.rpartition(".")[0] in OFFLINE_MODULES or module == "schemas"
        if not (ours or top in sys.stdlib_module_names or top in third_parties):
            found.append(f"imports {module}: an auditor would have to install it")
    return found
