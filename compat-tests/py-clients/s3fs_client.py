"""s3fs as driver.py drives it: paths instead of keys, a file system's errors, whole files through `open`."""

import os
import sys
from pathlib import Path

import s3fs

from lines import answer_lines, bounds

CODES = {FileNotFoundError: "NoSuchKey", FileExistsError: "PreconditionFailed"}


def connect() -> s3fs.S3FileSystem:
    """Without its cache of listings: what another client wrote must be seen."""
    return s3fs.S3FileSystem(
        key=os.environ["AWS_ACCESS_KEY_ID"], secret=os.environ["AWS_SECRET_ACCESS_KEY"], endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        client_kwargs={"region_name": os.environ["AWS_REGION"]}, config_kwargs={"signature_version": "s3v4"}, use_listings_cache=False,
    )


fs = connect()


def code_of(error: Exception) -> str:
    answered = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    return answered["Error"]["Code"] if answered else CODES.get(type(error), "")


def create_bucket(bucket):
    fs.mkdir(bucket)


def delete_bucket(bucket):
    fs.rmdir(bucket)


def put(bucket, key, file, type, metadata, if_none_match=None):
    mode = "create" if if_none_match else "overwrite"
    fs.pipe_file(f"{bucket}/{key}", Path(file).read_bytes(), mode=mode, ContentType=type, Metadata=metadata)
    return {"etag": fs.info(f"{bucket}/{key}")["ETag"]}


def get(bucket, key, file, range=None):
    if not range:
        fs.get_file(f"{bucket}/{key}", file)
        return head(bucket, key)
    first, last = bounds(range)
    start, end = (-last, None) if first is None else (first, None if last is None else last + 1)
    body = fs.cat_file(f"{bucket}/{key}", start=start, end=end)
    Path(file).write_bytes(body)
    return head(bucket, key) | {"size": len(body)}


def head(bucket, key):
    seen = fs.info(f"{bucket}/{key}")
    return {"etag": seen["ETag"], "size": seen["size"], "type": seen["ContentType"], "metadata": fs.metadata(f"{bucket}/{key}")}


def list_(bucket, prefix, delimiter=None):
    if not delimiter:
        return {"keys": [path.removeprefix(f"{bucket}/") for path in fs.find(f"{bucket}/{prefix}")], "prefixes": []}
    said = {"keys": [], "prefixes": []}
    for entry in fs.ls(f"{bucket}/{prefix}", detail=True):
        name = entry["name"].removeprefix(f"{bucket}/")
        said["prefixes" if entry["type"] == "directory" else "keys"].append(name + "/" * (entry["type"] == "directory"))
    return said


def upload(bucket, key, file, part):
    """Through `open`, as data frames write: parts of the size asked for, of a length nobody said."""
    with fs.open(f"{bucket}/{key}", "wb", block_size=part) as out, open(file, "rb") as body:
        while piece := body.read(1024 * 1024):
            out.write(piece)
    return {"etag": fs.info(f"{bucket}/{key}")["ETag"]}


def copy(bucket, key, **source):
    fs.cp_file(source["from"], f"{bucket}/{key}")
    return {"etag": fs.info(f"{bucket}/{key}")["ETag"]}


def delete(bucket, key):
    fs.rm_file(f"{bucket}/{key}")


def delete_many(bucket, keys):
    fs.rm([f"{bucket}/{key}" for key in keys])
    return {"deleted": len(keys), "errors": 0}


def presign(bucket, key):
    return {"url": fs.sign(f"{bucket}/{key}", expiration=60)}


if __name__ == "__main__":
    acts = [create_bucket, delete_bucket, put, get, head, upload, copy, delete, delete_many, presign]
    sys.exit(answer_lines({act.__name__: act for act in acts} | {"list": list_}, code_of))
