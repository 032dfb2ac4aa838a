"""AWS Signature Version 4 by hand: raw tests must be able to sign wrongly, and load tests must sign cheaply."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """One access key, and the region its signatures are for."""

    access_key: str
    secret_key: str
    region: str = "us-east-1"


def encode(text: str, keep: str = "") -> str:
    """Percent-encodes as S3 does: UTF-8, upper-case hex, nothing kept but the unreserved characters and `keep`."""
    return quote(text, safe="-_.~" + keep)


def target(path: str, query: dict[str, str] | None = None) -> str:
    """The request target for a decoded path and query, in the form that is also signed."""
    return encode(path, "/") + ("?" + canonical_query(query) if query else "")


def canonical_query(query: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted((encode(n), encode(v)) for n, v in query.items()))


def amz_date(at: float | None = None) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))


def scope(who: Credentials, date: str) -> str:
    return f"{date[:8]}/{who.region}/s3/aws4_request"


@lru_cache(maxsize=64)
def signing_key(who: Credentials, day: str) -> bytes:
    key = b"AWS4" + who.secret_key.encode()
    for word in (day, who.region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def signature(who: Credentials, date: str, canonical_request: str) -> str:
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{date}\n{scope(who, date)}\n{digest}"
    return hmac.digest(signing_key(who, date[:8]), to_sign.encode(), "sha256").hex()


def signed_headers(
    who: Credentials, method: str, host: str, path: str, query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None, payload: str = UNSIGNED, at: float | None = None,
) -> dict[str, str]:
    """`headers` plus host, date, payload hash and Authorization; every header given is signed."""
    date = amz_date(at)
    signed = {name.lower(): value.strip() for name, value in (headers or {}).items()}
    signed |= {"host": host, "x-amz-date": date, "x-amz-content-sha256": payload}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = f"{method}\n{encode(path, '/')}\n{canonical_query(query or {})}\n{lines}\n{names}\n{payload}"
    signed["authorization"] = (
        f"{ALGORITHM} Credential={who.access_key}/{scope(who, date)}, "
        f"SignedHeaders={names}, Signature={signature(who, date, canonical)}"
    )
    return signed


def presigned_query(who: Credentials, date: str, lives_s: int, query: dict[str, str] | None = None) -> str:
    """What is signed of a presigned URL's query."""
    return canonical_query((query or {}) | {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{who.access_key}/{scope(who, date)}",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(lives_s),
        "X-Amz-SignedHeaders": "host",
    })


def presign(
    who: Credentials, method: str, host: str, path: str, query: dict[str, str] | None = None,
    lives_s: int = 86_400, at: float | None = None,
) -> str:
    """A request target that carries its own signature for `lives_s` seconds; only the host header is signed."""
    date = amz_date(at)
    return _presigned(who, method, host, path, date, presigned_query(who, date, lives_s, query))


def presign_many(who: Credentials, method: str, host: str, paths: list[str], lives_s: int = 86_400) -> list[str]:
    """`presign` for many paths at one moment: the query is worked out once."""
    date = amz_date()
    query = presigned_query(who, date, lives_s)
    return [_presigned(who, method, host, path, date, query) for path in paths]


def _presigned(who: Credentials, method: str, host: str, path: str, date: str, query: str) -> str:
    there = encode(path, "/")
    canonical = f"{method}\n{there}\n{query}\nhost:{host}\n\nhost\n{UNSIGNED}"
    return f"{there}?{query}&X-Amz-Signature={signature(who, date, canonical)}"
