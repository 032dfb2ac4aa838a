"""Small words the suites share: what a refusal looks like, what an ETag must be, what many at once do."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Callable

import pytest

MIB = 1024 * 1024


@contextmanager
def refused(code: str | tuple[str, ...], status: int | None = None):
    """The boto3 call inside must fail with this error code (or one of these) and status."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        yield
    answer = caught.value.response
    codes = (code,) if isinstance(code, str) else code
    assert answer["Error"]["Code"] in codes, answer
    assert status is None or answer["ResponseMetadata"]["HTTPStatusCode"] == status, answer


def refusal(call: Callable[[], object]) -> str:
    """The error code a boto3 call ends with; empty when it succeeds."""
    from botocore.exceptions import ClientError

    try:
        call()
        return ""
    except ClientError as error:
        return error.response["Error"]["Code"]


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def etag_of_parts(parts: list[bytes]) -> str:
    """S3's multipart ETag: the MD5 of the parts' MD5s, and how many they were."""
    return f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def at_once(count: int, act: Callable[[int], object]) -> list:
    """Runs `act(0) … act(count - 1)` in threads released together. Returns their results in order."""
    gate = threading.Barrier(count)

    def run(number: int) -> object:
        gate.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def put_empty(s3, bucket: str, keys: list[str]) -> None:
    """Many keys, quickly."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key), keys))
