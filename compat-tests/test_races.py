"""Writers race for one key: by PUT, COPY and Complete, to create and to replace. Each round has exactly one winner, and where
nothing is asked for, one whole body.

`ANYBUCKET_RACE_ROUNDS=1000` and `ANYBUCKET_RACERS=50` are what a release is tried with; a few rounds of sixteen are enough to
notice that nothing guards a key.
"""

import os
from collections import Counter

import pytest

from expect import MIB, at_once, etag_of_parts, refusal
from test_boto3_conditions import LOST, complete, copy, put, read

ROUNDS = int(os.environ.get("ANYBUCKET_RACE_ROUNDS", "5"))
RACERS = int(os.environ.get("ANYBUCKET_RACERS", "16"))
pytestmark = pytest.mark.timeout(180 + ROUNDS * 10 + RACERS * 5)


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
def test_of_racing_creators_exactly_one_wins(s3, place, write):
    for round_ in range(ROUNDS):
        won = race(s3, place, f"k{round_}", write, {"IfNoneMatch": "*"})
        assert read(s3, place, f"k{round_}") == won


@pytest.mark.parametrize("write", [put, copy, complete])
def test_of_racing_replacers_exactly_one_wins(s3, place, write):
    put(s3, place, "k", b"start")
    for _ in range(ROUNDS):
        seen = s3.head_object(Bucket=place, Key="k")["ETag"]
        won = race(s3, place, "k", write, {"IfMatch": seen})
        assert read(s3, place, "k") == won


def test_of_racing_uploads_in_parts_one_is_there_whole(s3, place):
    tokens = [os.urandom(16) for _ in range(RACERS)]
    bodies = [[token * (5 * MIB // len(token)), token] for token in tokens]

    def upload(number):
        at = {"Bucket": place, "Key": "k", "UploadId": s3.create_multipart_upload(Bucket=place, Key="k")["UploadId"]}
        sent = [s3.upload_part(**at, PartNumber=n, Body=part)["ETag"] for n, part in enumerate(bodies[number], 1)]
        return at | {"MultipartUpload": {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(sent, 1)]}}

    uploads = at_once(RACERS, upload)
    ended = at_once(RACERS, lambda number: s3.complete_multipart_upload(**uploads[number])["ETag"])
    assert ended == [etag_of_parts(parts) for parts in bodies]
    there = s3.get_object(Bucket=place, Key="k")
    body, won = there["Body"].read(), ended.index(there["ETag"])
    assert body == b"".join(bodies[won])
