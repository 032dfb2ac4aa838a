"""`identity = "chain"`: a store's credentials come from where AWS's own tools find them, and change without a restart."""

from __future__ import annotations

import json
import time
import urllib.parse

import pytest

import server
import stores
from boto import at_site
from guard import Answering, Guard, Pass, renewed
from sigv4 import Credentials

BUCKET = "chained"
TEMPORARY = Pass(Credentials("TEMPORARYKEY", "temporary-secret-of-no-value"), "token-of-no-value")
QUITE_NEW_S = 6  # credentials that are newer are not asked for again
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def guard(store):
    """The same store for whoever has temporary credentials."""
    standing = Guard(store.port, Credentials(*keys_of(store)), TEMPORARY)
    store.settings[stores.MAIN + "ENDPOINT"] = f"http://127.0.0.1:{standing.port}"
    yield standing
    standing.close()


class Teller(Answering):
    """Gives away the guard's credentials to whoever asks, in the words of `tell`."""

    def __init__(self, guard: Guard, tell) -> None:
        self.guard, self.tell, self.asked = guard, tell, []
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.asked.append((target, headers, body.decode()))
        return 200, {}, self.tell(self.guard.good).encode()


@pytest.fixture
def telling(guard):
    tellers = []

    def started(tell) -> Teller:
        tellers.append(Teller(guard, tell))
        return tellers[-1]

    yield started
    for teller in tellers:
        teller.close()


@pytest.fixture
def site(tmp_path, store):
    """A site whose store is described without keys, under an environment that has nothing else of AWS."""
    sites = []

    def made(**env: str) -> server.Anybucket:
        settings = {name: value for name, value in store.settings.items() if not name.endswith("_KEY")}
        alone = {
            "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), stores.MAIN + "IDENTITY": "chain",
        }
        sites.append(server.Anybucket(tmp_path, env=settings | alone | env))
        return sites[-1]

    yield made
    for one in sites:
        if one.alive():
            one.kill()


def keys_of(store) -> tuple[str, str]:
    return store.settings[stores.MAIN + "ACCESS_KEY"], store.settings[stores.MAIN + "SECRET_KEY"]


def as_container(good: Pass) -> str:
    """As the endpoints of ECS and EKS have it."""
    said = {"AccessKeyId": good.who.access_key, "SecretAccessKey": good.who.secret_key, "Token": good.token}
    return json.dumps(said | {"Expiration": "2999-01-01T00:00:00Z"})


def as_process(good: Pass) -> str:
    said = {"AccessKeyId": good.who.access_key, "SecretAccessKey": good.who.secret_key, "SessionToken": good.token}
    return json.dumps({"Version": 1} | said)


def as_sts(good: Pass) -> str:
    return f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
      <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/role/me</Arn><AssumedRoleId>A:me</AssumedRoleId></AssumedRoleUser>
      <Credentials><AccessKeyId>{good.who.access_key}</AccessKeyId><SecretAccessKey>{good.who.secret_key}</SecretAccessKey>
      <SessionToken>{good.token}</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>
      </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


def works(site: server.Anybucket, *secrets: str) -> None:
    site.up()
    s3 = at_site(site)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"chained")
    assert s3.get_object(Bucket=BUCKET, Key="key")["Body"].read() == b"chained"
    shows_none_of(site, TEMPORARY.who.secret_key, TEMPORARY.token, *secrets)


def shows_none_of(site: server.Anybucket, *secrets: str) -> None:
    said = site.log.read_text()
    assert not [secret for secret in secrets if secret in said], said


def test_keys_in_the_environment(store, site):
    access_key, secret_key = keys_of(store)
    works(site(AWS_ACCESS_KEY_ID=access_key, AWS_SECRET_ACCESS_KEY=secret_key, RUST_LOG="debug"), secret_key)


def test_temporary_keys_in_the_environment(guard, site):
    who = TEMPORARY.who
    named = {"AWS_ACCESS_KEY_ID": who.access_key, "AWS_SECRET_ACCESS_KEY": who.secret_key, "AWS_SESSION_TOKEN": TEMPORARY.token}
    works(site(**named, RUST_LOG="debug"))


def test_temporary_keys_in_the_settings_are_read_again_when_they_are_refused(tmp_path, guard, site):
    def write(good: Pass) -> dict[str, str]:
        said = {"ACCESS_KEY": good.who.access_key, "SECRET_KEY": good.who.secret_key, "SESSION_TOKEN": good.token}
        for name, text in said.items():
            (tmp_path / name).write_text(text + "\n")
        return {f"{stores.MAIN}{name}__FILE": str(tmp_path / name) for name in said}

    made = site(**write(TEMPORARY))
    del made.env[stores.MAIN + "IDENTITY"]
    works(made)
    guard.good = renewed(TEMPORARY)
    write(guard.good)
    at_site(made).put_object(Bucket=BUCKET, Key="later", Body=b"later")
    shows_none_of(made, guard.good.token)


def test_a_profile(tmp_path, store, site):
    access_key, secret_key = keys_of(store)
    lines = f"[work]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = wrong\n" + lines)
    works(site(AWS_PROFILE="work"), secret_key)


def test_a_process_that_a_profile_names_is_asked_again_when_its_answer_is_refused(tmp_path, guard, site):
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path / 'given.json'}\n")
    (tmp_path / "given.json").write_text(as_process(TEMPORARY))
    made = site()
    works(made)
    time.sleep(QUITE_NEW_S)
    guard.good = renewed(TEMPORARY)
    (tmp_path / "given.json").write_text(as_process(guard.good))
    at_site(made).put_object(Bucket=BUCKET, Key="later", Body=b"later")


def test_the_identity_of_a_pod(tmp_path, site, telling):
    sts = telling(as_sts)
    (tmp_path / "jwt").write_text("proof-of-no-value")
    role = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/role", "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "jwt")}
    works(site(**role, AWS_ENDPOINT_URL_STS=sts.url), "proof-of-no-value")
    [(_, _, form)] = sts.asked
    asked = urllib.parse.parse_qs(form)
    assert asked["WebIdentityToken"] == ["proof-of-no-value"] and asked["RoleArn"] == [role["AWS_ROLE_ARN"]]


def test_a_containers_credentials_are_had_anew_by_the_call_that_was_refused(tmp_path, guard, site, telling):
    container = telling(as_container)
    (tmp_path / "pod").write_text("pod-of-no-value")
    named = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{container.url}/given", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "pod")}
    made = site(**named)
    works(made, "pod-of-no-value")
    [(path, headers, _)] = container.asked
    assert path == "/given" and headers["authorization"] == "pod-of-no-value" and guard.refused == 0
    time.sleep(QUITE_NEW_S)

    guard.good = renewed(TEMPORARY)
    s3 = at_site(made)
    assert s3.get_object(Bucket=BUCKET, Key="key")["Body"].read() == b"chained"
    s3.put_object(Bucket=BUCKET, Key="later", Body=b"later")
    assert len(container.asked) == 2 and guard.refused
    shows_none_of(made, guard.good.who.secret_key, guard.good.token)


def test_where_nothing_is_found_it_says_what_was_tried_and_what_to_set(site):
    checked = site().command("check-config")
    assert checked.returncode == 1, checked
    for said in (
        'no credentials: identity = "chain": no link of the chain has any', "Environment: environment variable not set",
        "Ec2InstanceMetadata: IMDS disabled", "give this process AWS_ACCESS_KEY_ID, a profile or a role, or set access_key",
    ):
        assert said in checked.stdout, checked.stdout
