"""The pages tell the truth about the repository: links, named functions, commands, decisions; each rule can fail."""

import re

import pytest
import typer

from services.cli import main as cli_main
from tests.tidy import doc_rules
from tests.tidy.repository import ROOT, all_files, select, violations

pytestmark = pytest.mark.tidy

FILES = dict(all_files())


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", FILES["Makefile"], re.MULTILINE))


def cli_commands() -> dict[str, set[str]]:
    """Every command of sayso with its subcommands."""
    (app,) = [value for value in vars(cli_main).values() if isinstance(value, typer.Typer)][:1]
    root = typer.main.get_group(app)
    return {name: set(getattr(command, "commands", ())) for name, command in root.commands.items()}


def test_nothing_outside_the_repository_is_named() -> None:
    broken = violations(doc_rules.outside_names, all_files())
    assert not broken, "\n" + "\n".join(broken)
    assert doc_rules.outside_names("docs/x.md", "see ../" + "shared/design.md")


def test_links_resolve() -> None:
    folders = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_dir()}
    broken = violations(lambda path, text: doc_rules.dead_links(path, text, FILES, folders), select(".md"))
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(("link", "dead"), [("b.md", False), ("b.md#a-head", False), ("c.md", True), ("b.md#x", True)])
def test_a_dead_link_is_found(link: str, dead: bool) -> None:
    files = {"docs/a.md": "", "docs/b.md": "# A head\n"}
    assert bool(doc_rules.dead_links("docs/a.md", f"[see]({link})", files, set())) is dead


def test_named_functions_exist() -> None:
    broken = violations(lambda path, text: doc_rules.dead_references(path, text, FILES), select(".md"))
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(
    ("reference", "dead"),
    [
        ("s/a.py:f", False),
        ("s/a.py:C.g", False),
        ("s/a.py:h", True),
        ("s/b.py:f", True),
        ("s/q.sql:fetch", False),
        ("s/m.js:act", False),
        ("s/m.js:fact", True),
    ],
)
def test_a_dead_reference_is_found(reference: str, dead: bool) -> None:
    files = {"s/a.py": "def f(): ...\n\n\nclass C:\n    def g(self): ...\n", "s/q.sql": "-- fetch --\n"}
    files["s/m.js"] = "export const act = () => 1;\n"
    assert bool(doc_rules.dead_references("docs/a.md", f"see `{reference}`.", files)) is dead


def test_commands_exist() -> None:
    pages = [*select(".md"), *select("errors.py", "schemas")]
    targets, commands = make_targets(), cli_commands()
    broken = violations(lambda path, text: doc_rules.dead_commands(path, text, targets, commands), pages)
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("typed", ["make nonsense", "sayso nonsense", "sayso key nonsense"])
def test_a_dead_command_is_found(typed: str) -> None:
    commands = {"key": {"create"}, "up": set[str]()}
    assert doc_rules.dead_commands("README.md", f"Type `{typed}`.", {"run"}, commands)
    assert not doc_rules.dead_commands(
        "README.md", "`make run`, `sayso key create`, `sayso up --demo`", {"run"}, commands
    )


def test_decisions_have_their_form() -> None:
    broken = violations(doc_rules.decision_form, select(".md", "docs/decisions"))
    assert not broken, "\n" + "\n".join(broken)
    assert doc_rules.decision_form("docs/decisions/0001-x.md", "# No sections\n")
    assert doc_rules.decision_form("docs/decisions/x.md", "")


def test_decisions_are_numbered_once() -> None:
    numbers = [match["number"] for path, _ in select(".md") if (match := doc_rules.DECISION_NAME.match(path))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
