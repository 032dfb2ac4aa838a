"""Runs every compat suite against the built binary (nothing is built here) and names what was skipped.

    compat-tests/setup.sh && .tools/py/bin/python compat-tests/run.py [--no-skips] [--table] [pytest arguments]

With CI=true or --no-skips, anything skipped is a failure. What each client did is written as a table into .tools/COMPATIBILITY.md;
with --table into compat-tests/COMPATIBILITY.md, which is checked in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV_PYTHON = HERE.parent / ".tools/py/bin/python"


class Tally:
    """What became of each test as pytest reports it; a failing set-up or tear-down is a failure too."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report) -> None:
        if hasattr(report, "wasxfail") and not report.failed:
            self.outcomes[report.nodeid] = "known"  # it fails as its mark says it must; passing would be reported as a failure
        elif report.failed or report.skipped:
            self._not_passed(report)
        elif report.when == "call":
            self.outcomes[report.nodeid] = "passed"

    def pytest_collectreport(self, report) -> None:
        if report.failed or report.skipped:
            self._not_passed(report)

    def _not_passed(self, report) -> None:
        self.outcomes[report.nodeid] = "failed" if report.failed else "skipped"
        if report.skipped:
            self.skipped[report.nodeid] = _reason(report)

    def count(self, outcome: str) -> int:
        return list(self.outcomes.values()).count(outcome)


def _reason(report) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def finish(passed: int, failed: int, skipped: dict[str, str], strict: bool, code: int) -> int:
    for name, reason in skipped.items():
        print(f"skipped: {name}: {reason}")
    if skipped and strict:
        print(f"{len(skipped)} skipped, and nothing may be skipped here (CI or --no-skips)")
        failed += len(skipped)
    if code and not failed:
        failed = 1  # it ended before any test did
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else code


def main(argv: list[str]) -> int:
    strict = "--no-skips" in argv or os.environ.get("CI", "").lower() in ("1", "true")
    asked = [argument for argument in argv if argument not in ("--no-skips", "--table")]
    try:
        import pytest
    except ImportError:
        if VENV_PYTHON.exists() and Path(sys.executable) != VENV_PYTHON:
            return subprocess.call([str(VENV_PYTHON), __file__, *argv])
        return finish(0, 0, {"compat-tests": "pytest is not installed: run compat-tests/setup.sh"}, strict, 0)
    tally = Tally()
    os.chdir(HERE)
    code = pytest.main([*asked] or [str(HERE)], plugins=[tally])
    write_table(tally, HERE if "--table" in argv else VENV_PYTHON.parents[2])
    return finish(tally.count("passed"), tally.count("failed"), tally.skipped, strict, int(code))


def write_table(tally: Tally, directory: Path) -> None:
    import clients  # it needs what the suites need

    directory.mkdir(exist_ok=True)
    (directory / "COMPATIBILITY.md").write_text(clients.table(tally.outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
