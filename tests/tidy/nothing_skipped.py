"""A pytest plugin for `make test`: with --nothing-skipped the run fails on a skip, an xfail, or a kind that never ran.

A suite that skips what it cannot start is green on every machine and proves nothing. Load it with -p.
"""

import re
from collections.abc import Generator
from pathlib import Path

import pytest

# Kinds of which at least one test must have passed. A kind is a set of words; a test has those of its markers, of the
# folders of its path, of its parameters' id and of its class's name (TestKafkaStream), so that nobody says it twice.
REQUIRED_KINDS = (
    {"browser"},
    {"contract", "kafka"},
    {"e2e"},
    {"fault"},
    {"integration"},
    {"interop"},
    {"migration"},
    {"property"},
    {"tidy"},
    {"unit"},
)


class NothingSkipped:
    """Watches a run and turns its exit status to failure if something did not really run."""

    def __init__(self, kinds: tuple[set[str], ...]) -> None:
        # The words of each test that passed. From its report alone, because with -n the tests run in other processes.
        self.passed: dict[str, set[str]] = {}
        self.not_run: list[str] = []
        self.kinds = kinds

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
            self.not_run.append(f"{report.nodeid}: {reason}")
        elif report.when == "call" and report.passed:
            self.passed[report.nodeid] = words_of(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.not_run.append(f"{report.nodeid}: skipped as a whole")

    def complaints(self) -> list[str]:
        """One sentence for each thing that did not run."""
        missing = [kind for kind in self.kinds if not any(kind <= words for words in self.passed.values())]
        return [f"did not run: {line}" for line in self.not_run] + [
            f"no test passed that is {' and '.join(sorted(kind))}: it may not be left out" for kind in missing
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        if session.exitstatus == pytest.ExitCode.OK and self.complaints():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for complaint in self.complaints():
            terminalreporter.write_line(f"NOTHING SKIPPED: {complaint}", red=True)


def words_of(report: pytest.TestReport) -> set[str]:
    """Its markers, and the words of its path, its class's name and its parameters' id."""
    path, _, rest = report.nodeid.partition("::")
    name, _, parameters = rest.partition("[")
    words = {*report.keywords, *Path(path).parts[:-1], *parameters.rstrip("]").split("-")}
    if "::" in name:
        words.update(word.lower() for word in re.findall("[A-Z][a-z]+", name.partition("::")[0]))
    return words


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nothing-skipped", action="store_true", help="fail when anything was skipped or left out")


def pytest_configure(config: pytest.Config) -> None:
    # With -n the one that hands out the tests is told of every report; the ones that run them know a part only.
    if config.getoption("--nothing-skipped") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(NothingSkipped(REQUIRED_KINDS), "nothing-skipped")
