"""Runs every compat suite against the built binary (nothing is built here) and names what was skipped.

    compat-tests/setup.sh && .tools/py/bin/python compat-tests/run.py [--no-skips] [pytest arguments]

With CI=true or --no-skips, anything skipped is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV_PYTHON = HERE.parent / ".tools/py/bin/python"


class Tally:
    """Counts outcomes as pytest reports them; a failing set-up or tear-down is a failure too."""

    def __init__(self) -> None:
        self.passed, self.failed, self.skipped = 0, 0, {}

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self.failed += 1
        elif report.skipped:
            self.skipped[report.nodeid] = _reason(report)
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.failed += 1
        elif report.skipped:
            self.skipped[report.nodeid] = _reason(report)


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
    asked = [argument for argument in argv if argument != "--no-skips"]
    try:
        import pytest
    except ImportError:
        if VENV_PYTHON.exists() and Path(sys.executable) != VENV_PYTHON:
            return subprocess.call([str(VENV_PYTHON), __file__, *argv])
        return finish(0, 0, {"compat-tests": "pytest is not installed: run compat-tests/setup.sh"}, strict, 0)
    tally = Tally()
    os.chdir(HERE)
    code = pytest.main([*asked] or [str(HERE)], plugins=[tally])
    return finish(tally.passed, tally.failed, tally.skipped, strict, int(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
