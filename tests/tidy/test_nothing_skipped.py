"""`make test` is red when a test was skipped or a kind of test left out: seen on small suites of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.nothing_skipped import REQUIRED_KINDS
from tests.tidy.repository import ROOT

pytestmark = pytest.mark.tidy

COMPLETE = "\n".join(
    f"@pytest.mark.{'@pytest.mark.'.join(f'{word}{chr(10)}' for word in sorted(kind))}def test_{number}(): pass\n"
    for number, kind in enumerate(REQUIRED_KINDS)
)


def run_suite(folder: Path, text: str, *options: str) -> tuple[int, str]:
    (folder / "test_sample.py").write_text(f"import pytest\n\n{text}")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = ignore\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "tests.tidy.nothing_skipped",
            "--nothing-skipped",
            *options,
            str(folder),
        ],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_complete_suite_is_green(tmp_path: Path) -> None:
    status, output = run_suite(tmp_path, COMPLETE)
    assert status == pytest.ExitCode.OK, output
    assert f"{len(REQUIRED_KINDS)} passed" in output.splitlines()[-1]


def test_the_same_with_two_processes(tmp_path: Path) -> None:
    status, output = run_suite(tmp_path, COMPLETE, "-n", "2")
    assert status == pytest.ExitCode.OK, output
    status, output = run_suite(tmp_path, COMPLETE + "def test_more(): pytest.skip('no broker')\n", "-n", "2")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "no broker" in output


@pytest.mark.parametrize(
    "more",
    [
        "@pytest.mark.skip(reason='no broker')\ndef test_more(): pass\n",
        "def test_more(): pytest.skip('no broker')\n",
        "@pytest.mark.xfail\ndef test_more(): raise AssertionError\n",
        "pytest.importorskip('no_such_module')\n",
    ],
    ids=["marked", "inside", "xfail", "module"],
)
def test_a_skip_is_red(tmp_path: Path, more: str) -> None:
    status, output = run_suite(tmp_path, COMPLETE + more)
    assert status != pytest.ExitCode.OK
    assert "NOTHING SKIPPED" in output


@pytest.mark.parametrize(
    "kafka",
    [
        "@pytest.mark.contract\nclass TestKafkaStream:\n    def test_it(self): pass\n",
        "@pytest.mark.contract\n@pytest.mark.parametrize('stream', ['inbox', 'kafka'])\ndef test_it(stream): pass\n",
    ],
    ids=["class", "parameter"],
)
def test_a_kind_may_be_named_once(tmp_path: Path, kafka: str) -> None:
    status, output = run_suite(tmp_path, COMPLETE.replace("@pytest.mark.kafka\n", "") + kafka)
    assert status == pytest.ExitCode.OK, output


def test_a_kind_left_out_is_red(tmp_path: Path) -> None:
    status, output = run_suite(tmp_path, COMPLETE.replace("@pytest.mark.kafka\n", ""))
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "contract and kafka" in output


def test_a_failing_test_of_a_kind_does_not_count(tmp_path: Path) -> None:
    number = REQUIRED_KINDS.index({"e2e"})
    failing = COMPLETE.replace(f"def test_{number}(): pass", f"def test_{number}(): raise AssertionError")
    status, output = run_suite(tmp_path, failing)
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "no test passed that is e2e" in output
