"""The loop of a client program: one JSON request a line, one JSON answer a line (see driver.py)."""

import json
import sys
from typing import Callable


def answer_lines(acts: dict[str, Callable], code_of: Callable[[Exception], str]) -> None:
    """Performs what is asked until stdin ends. `code_of` names a refusal as S3 does; "" where it cannot."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = acts[asked.pop("do")](**asked)
        except Exception as error:  # whatever it is, the test that asked is the one to judge it
            said = {"error": code_of(error) or "none", "status": 0, "message": repr(error)}
        print(json.dumps(said or {}), flush=True)


def bounds(range_: str) -> tuple[int | None, int | None]:
    """`bytes=5-9` as (5, 9); what is left out as None."""
    first, _, last = range_.removeprefix("bytes=").partition("-")
    return int(first) if first else None, int(last) if last else None
