"""obstore as driver.py drives it. It knows no buckets."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from lines import answer_lines, bounds

LOST = (AlreadyExistsError, PreconditionError)


@cache
def store(bucket: str) -> obstore.store.S3Store:
    return obstore.store.S3Store(
        bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], region=os.environ["AWS_REGION"], access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"], client_options={"allow_http": True},
    )


def code_of(error: Exception) -> str:
    return "NoSuchKey" if isinstance(error, FileNotFoundError) else "PreconditionFailed" if isinstance(error, LOST) else ""


def put(bucket, key, file, type, metadata, if_match=None, if_none_match=None):
    mode = {"e_tag": if_match} if if_match else "create" if if_none_match else "overwrite"
    done = obstore.put(store(bucket), key, Path(file).read_bytes(), attributes={"Content-Type": type, **metadata}, mode=mode, use_multipart=False)
    return {"etag": done["e_tag"]}


def get(bucket, key, file, range=None):
    got = obstore.get(store(bucket), key, options={"range": wanted(range)} if range else {})
    with open(file, "wb") as out:
        out.writelines(got.stream())
    return described(got)


def wanted(range_: str):
    first, last = bounds(range_)
    return {"suffix": last} if first is None else {"offset": first} if last is None else (first, last + 1)


def described(got):
    attributes = dict(got.attributes)
    kind = attributes.pop("Content-Type", None)
    return {"etag": got.meta["e_tag"], "size": got.range[1] - got.range[0], "type": kind, "metadata": attributes}


def head(bucket, key):
    return described(obstore.get(store(bucket), key, options={"head": True}))


def list_(bucket, prefix, delimiter=None):
    if delimiter:
        found = obstore.list_with_delimiter(store(bucket), prefix)
        return {"keys": [entry["path"] for entry in found["objects"]], "prefixes": [f"{name}/" for name in found["common_prefixes"]]}
    return {"keys": [entry["path"] for page in obstore.list(store(bucket), prefix) for entry in page], "prefixes": []}


def upload(bucket, key, file, part):
    with open(file, "rb") as body:
        return {"etag": obstore.put(store(bucket), key, body, use_multipart=True, chunk_size=part)["e_tag"]}


def copy(bucket, key, **source):
    obstore.copy(store(bucket), source["from"].partition("/")[2], key)
    return {"etag": obstore.head(store(bucket), key)["e_tag"]}


def delete(bucket, key):
    obstore.delete(store(bucket), key)


def delete_many(bucket, keys):
    obstore.delete(store(bucket), keys)
    return {"deleted": len(keys), "errors": 0}


def presign(bucket, key):
    return {"url": obstore.sign(store(bucket), "GET", key, timedelta(minutes=1))}


def count(bucket, key, threads, steps):
    """Many race to create a counter and then to increment it, each until it won `steps` times."""
    tally, lock = {"created": 0, "won": 0, "lost": 0}, threading.Lock()

    def write(number, mode, said):
        try:
            obstore.put(store(bucket), key, str(number).encode(), mode=mode)
        except LOST:
            said = "lost" if said == "won" else None
        with lock:
            tally[said] = tally.get(said, 0) + 1
        return said == "won"

    def alone(_):
        write(0, "create", "created")
        mine = 0
        while mine < steps:
            seen = obstore.get(store(bucket), key)
            mine += write(int(bytes(seen.bytes())) + 1, {"e_tag": seen.meta["e_tag"]}, "won")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(alone, range(threads)))
    return {name: tally[name] for name in ("created", "won", "lost")}


if __name__ == "__main__":
    acts = [put, get, head, upload, copy, delete, delete_many, presign, count]
    sys.exit(answer_lines({act.__name__: act for act in acts} | {"list": list_}, code_of))
