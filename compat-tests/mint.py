"""The functional tests of MinIO's mint against the built binary, by hand. Brings nothing: check the repositories out beside, see mint.md.

    mint.py {awscli,s3cmd,minio-py,minio-js,minio-go,aws-sdk-go-v2,versioning} DIRECTORY

Unlike mint it goes on after a failure, where the suite can. `NA` is what a suite itself says of an answer 501.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from driver import NODE, TOOLS
from server import Anybucket

Suite = Callable[[Path, dict[str, str], Path], str]  # the checkout, the environment, a directory to work in; the lines it said

KIB = 1024
MIB = 1024 * KIB
FILES = {  # mint's create-data-files.sh
    "0-b": 0, "1-b": 1, "1-kB": KIB, "10-kB": 10 * KIB, "33-kB": 33 * KIB, "100-kB": 100 * KIB, "1.03-MB": 1056 * KIB, "1-MB": MIB, "5-MB": 5 * MIB,
    "5243880-b": 5_243_880, "6-MB": 6 * MIB, "10-MB": 10 * MIB, "11-MB": 11 * MIB, "65-MB": 65 * MIB, "129-MB": 129 * MIB,
}  # fmt: skip


def awscli(checkout: Path, env: dict[str, str], work: Path) -> str:
    """aws-cli v1 presigns with version 2 signatures, which are off, unless told. The suite appends to a file of an earlier run."""
    Path("/tmp/lifecycle.json").unlink(missing_ok=True)
    (work / ".aws").mkdir()
    (work / ".aws/config").write_text("[default]\ns3 =\n  signature_version = s3v4\n")
    script = (checkout / "run/core/awscli/test.sh").read_text()
    main = script.rindex("main() {")
    going_on = re.sub(r"^(\s+test_\w+) &&$", r"\1", script[main:], flags=re.M)
    return run(["bash", "-c", script[:main] + going_on, "test.sh", f"http://{env['SERVER_ENDPOINT']}"], env, work)


def s3cmd(checkout: Path, env: dict[str, str], work: Path) -> str:
    return run(["bash", str(checkout / "run/core/s3cmd/test.sh")], env, work)


def minio_py(checkout: Path, env: dict[str, str], work: Path) -> str:
    """Needs `pip install minio` of the tests' release into the environment that runs this."""
    tests = (checkout / "tests/functional/tests.py").read_text()
    (work / "tests.py").write_text(tests.replace("        raise TestFailed()", "        pass"))
    return run([sys.executable, "tests.py"], env | {"DATA_DIR": env["MINT_DATA_DIR"]}, work)


def minio_js(checkout: Path, env: dict[str, str], work: Path) -> str:
    """Needs `npm ci --ignore-scripts` in the checkout."""
    host, _, port = env["SERVER_ENDPOINT"].partition(":")
    mocha = [NODE, "node_modules/mocha/bin/mocha.js", "tests/functional/functional-tests.js", "-R", "json", "--exit"]
    said = run(mocha, env | {"SERVER_ENDPOINT": f"{host}:{port}"}, checkout)
    report = json.loads(said[said.index('{\n  "stats"') :])
    lines = [{"status": "PASS", "function": test["fullTitle"]} for test in report["passes"]]
    lines += [{"status": "NA", "function": test["fullTitle"]} for test in report["pending"]]
    lines += [{"status": "FAIL", "function": test["fullTitle"], "error": test["err"].get("message", "")} for test in report["failures"]]
    return "\n".join(map(json.dumps, lines))


def go_suite(name: str) -> Suite:
    """Runs a suite that is a program: `DIRECTORY/name`, built already, as mint's own build/ says. Of these only minio-go has a switch to go on."""
    return lambda checkout, env, work: run([str(checkout / name)], env | {"RUN_ON_FAIL": "1"}, work)


SUITES: dict[str, Suite] = {
    "awscli": awscli, "s3cmd": s3cmd, "minio-py": minio_py, "minio-js": minio_js,
    "minio-go": go_suite("minio-go"), "aws-sdk-go-v2": go_suite("aws-sdk-go-v2"), "versioning": go_suite("versioning"),
}  # fmt: skip


def run(argv: list[str], env: dict[str, str], directory: Path) -> str:
    done = subprocess.run(argv, env=env, cwd=directory, capture_output=True, text=True, timeout=1800)
    (directory / "mint.log").write_text(done.stdout + done.stderr)
    return done.stdout


def read_line(line: str) -> dict[str, str]:
    """awscli's suite does not quote what it puts into its JSON."""
    try:
        return json.loads(line, strict=False)
    except json.JSONDecodeError:
        return {"status": re.search(r'"status": "(\w+)"', line)[1], "function": line}


def report(said: str) -> int:
    """Prints each test that did not pass in a line, then the counts. Returns how many failed."""
    ended = {"PASS": 0, "NA": 0, "FAIL": 0}
    for line in said.splitlines():
        if not line.startswith("{"):
            continue
        entry = read_line(line)
        ended[entry["status"]] += 1
        if entry["status"] != "PASS":
            why = entry.get("message") or entry.get("error") or entry.get("alert") or ""
            what = entry.get("function", "") if "minio-py:" not in entry.get("name", "") else entry["name"]
            print(f"{entry['status']}: {what}: {why}".replace("\n", " ")[:300])
    print(", ".join(f"{count} {status}" for status, count in ended.items()))
    return ended["FAIL"]


def main(suite: str, checkout: str) -> int:
    work = Path(tempfile.mkdtemp(prefix=f"mint-{suite}-"))
    files = work / "files"
    files.mkdir()
    for name, size in FILES.items():
        (files / f"datafile-{name}").write_bytes(os.urandom(size))
    site = Anybucket(work)
    site.up()
    env = os.environ | {
        "SERVER_ENDPOINT": f"{site.host}:{site.port}", "ACCESS_KEY": site.credentials.access_key, "SECRET_KEY": site.credentials.secret_key,
        "AWS_ACCESS_KEY_ID": site.credentials.access_key, "AWS_SECRET_ACCESS_KEY": site.credentials.secret_key, "AWS_DEFAULT_REGION": "us-east-1",
        "ENABLE_HTTPS": "0", "MINT_MODE": "full", "MINT_DATA_DIR": str(files), "SERVER_REGION": "us-east-1", "HOME": str(work),
        "PATH": f"{TOOLS / 'py/bin'}:{os.environ['PATH']}",
    }  # fmt: skip
    try:
        failed = report(SUITES[suite](Path(checkout).resolve(), env, work))
        print(f"the logs are in {work}")
        return 1 if failed else 0
    finally:
        site.stop()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SUITES:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
