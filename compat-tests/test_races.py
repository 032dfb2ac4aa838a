"""Sixteen writers race for one key: by PUT, COPY and Complete, to create and to replace. Each round has exactly one winner.

`ANYBUCKET_RACE_ROUNDS=1000` is what a release is tried with; a few rounds are enough to notice that nothing guards a key.
"""

import os
from collections import Counter

import pytest

from expect import at_once, refusal
from test_boto3_conditions import LOST, complete, copy, put, read

ROUNDS = int(os.environ.get("ANYBUCKET_RACE_ROUNDS", "5"))
RACERS = 16
pytestmark = pytest.mark.timeout(180 + ROUNDS * 10)


def race(s3, bucket, key, write, condition):
    """One round: the code each racer was refused with, and the body of the one who was not."""
    bodies = [f"{os.urandom(8).hex()}/{number}".encode() for number in range(RACERS)]
    said = at_once(RACERS, lambda number: refusal(lambda: write(s3, bucket, key, bodies[number], **condition)))
    assert said.count("") == 1 and set(said) <= {"", *LOST}, Counter(said)
    return bodies[said.index("")]


@pytest.fixture(params=["unversioned", "versioned"])
def place(request, s3, bucket):
    if request.param == "versioned":
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.mark.parametrize("write", [put, copy, complete])
def test_of_sixteen_creators_exactly_one_wins(s3, place, write):
    for round_ in range(ROUNDS):
        won = race(s3, place, f"k{round_}", write, {"IfNoneMatch": "*"})
        assert read(s3, place, f"k{round_}") == won


@pytest.mark.parametrize("write", [put, copy, complete])
def test_of_sixteen_replacers_exactly_one_wins(s3, place, write):
    put(s3, place, "k", b"start")
    for _ in range(ROUNDS):
        seen = s3.head_object(Bucket=place, Key="k")["ETag"]
        won = race(s3, place, "k", write, {"IfMatch": seen})
        assert read(s3, place, "k") == won
