"""GitHub's alerts: signed ones revoke, and nothing else does anything."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keymw import Denied, Granted, Reason, StoreUnavailable
from keymw.management import create_app, github
from keymw.management.problems import Unacceptable
from keymw.tokens import generate
from management.conftest import Office, Person

PATH = "/leaks/github"


def pem(key):
    form = PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(Encoding.PEM, form).decode()


class Sender:
    """Somebody who signs alerts."""

    def __init__(self, identifier="key-1"):
        self.identifier = identifier
        self.key = ec.generate_private_key(ec.SECP256R1())

    def headers(self, body):
        signature = self.key.sign(body, ec.ECDSA(SHA256()))
        return {
            "content-type": "application/json",
            "github-public-key-identifier": self.identifier,
            "github-public-key-signature": b64encode(signature).decode(),
        }


def alert(*tokens, **more):
    url = "https://github.com/octo/hello/blob/1/settings.py"
    matches = [
        {"token": token, "type": "keymw_key", "url": url, "source": "content", **more}
        for token in tokens
    ]
    return json.dumps(matches).encode()


@pytest.fixture
def sender():
    return Sender()


@pytest.fixture
def alerted(service, sender):
    return Office(service, github_keys={sender.identifier: pem(sender.key)})


async def send(office, body, headers, status=200):
    answer = await office.stranger().ask("POST", PATH, status, content=body, headers=headers)
    return answer.json()


async def test_a_signed_alert_revokes_and_says_what_was_a_key(alerted, sender):
    keys = alerted.keys
    issued = await keys.issue_project_key("2", "ci", ["endpoint:read"])
    personal = await keys.issue_personal_key("user-7", "laptop", ["*"])
    kept = await keys.issue_project_key("2", "kept", ["endpoint:read"])
    stray = generate("phs_")
    body = alert(issued.token, stray, personal.token)
    answers = await send(alerted, body, sender.headers(body))
    assert answers == [
        {
            "token_hash": sha256(token.encode()).hexdigest(),
            "token_type": "keymw_key",
            "label": label,
        }
        for token, label in (
            (issued.token, "true_positive"),
            (stray, "false_positive"),
            (personal.token, "true_positive"),
        )
    ]
    for token in (issued.token, personal.token):
        assert await keys.verify(token) == Denied(Reason.REVOKED)
        assert token not in str(answers)
    assert isinstance(await keys.verify(kept.token), Granted)
    revoked = (await keys.history(key_id=issued.key.id))[0]
    assert (revoked.action, revoked.actor) == ("revoked", "github-secret-scanning")
    assert revoked.reason == "leaked: https://github.com/octo/hello/blob/1/settings.py"
    # GitHub may send it again, and a secret that was one is no false alarm.
    assert await send(alerted, body, sender.headers(body)) == answers
    assert (await keys.history(key_id=issued.key.id))[0] == revoked


@pytest.mark.parametrize(
    "where", ["", None, "x" * 999, "https://example.com/\u202e\x00\n", "\x00"], ids=repr
)
async def test_the_place_of_a_leak_may_be_anything(alerted, sender, where):
    issued = await alerted.keys.issue_project_key("2", "ci", ["endpoint:read"])
    body = alert(issued.token, url=where, unknown=[1])
    await send(alerted, body, sender.headers(body))
    assert await alerted.keys.verify(issued.token) == Denied(Reason.REVOKED)


async def test_what_is_not_signed_by_github_does_nothing(alerted, sender):
    issued = await alerted.keys.issue_project_key("2", "ci", ["endpoint:read"])
    body = alert(issued.token)
    good = sender.headers(body)
    forger = Sender(sender.identifier).headers(body)
    name, signed = "github-public-key-identifier", "github-public-key-signature"
    for headers in (
        {},
        {name: good[name]},
        {signed: good[signed]},
        {**good, name: "key-2"},
        {**good, name: "x" * 5000},
        {**good, signed: "!"},
        {**good, signed: "AAAA"},
        {**good, signed: ""},
        {**good, signed: good[signed][:-4]},
        sender.headers(body + b" "),
        sender.headers(alert(issued.token, generate("phs_"))),
        forger,
    ):
        assert (await send(alerted, body, headers, 403))["code"] == "bad_signature"
    # Of a forged body nothing is looked at, not even whether it can be read.
    assert (await send(alerted, b"{", forger, 403))["code"] == "bad_signature"
    assert isinstance(await alerted.keys.verify(issued.token), Granted)
    # A good key of a person's opens nothing here, and closes nothing either.
    person = await alerted.person()
    await person.ask("POST", PATH, 403, content=body)
    await person.ask("POST", PATH, 200, content=body, headers=good)


async def test_signed_alerts_that_make_no_sense(alerted, sender):
    for body, status in (
        (b"", 400),
        (b"[", 400),
        (b"{}", 422),
        (b"[{}]", 422),
        (b'[{"token": 1, "type": "x"}]', 422),
        (b'[{"token": "", "type": "x"}]', 422),
        (b"[]", 200),
    ):
        await send(alerted, body, sender.headers(body), status)
    body = b" " * (1024 * 1024 + 1)
    await send(alerted, body, sender.headers(body), 413)
    await alerted.stranger().get(PATH, 405)


async def test_many_matches_in_one_alert(alerted, sender):
    body = alert(*(generate("phs_") for _ in range(500)))
    answers = await send(alerted, body, sender.headers(body))
    assert {answer["label"] for answer in answers} == {"false_positive"}
    assert len(answers) == 500


async def test_an_outage_asks_github_to_come_again(alerted, sender):
    body = alert(generate("phs_"))

    async def burn(*_):
        raise StoreUnavailable("The database cannot answer.")

    alerted.keys._deps().store.find = burn
    assert (await send(alerted, body, sender.headers(body), 503))["code"] == (
        "temporarily_unavailable"
    )


async def test_keys_are_asked_for_when_they_are_needed(akeys, clock):
    first, second = Sender("key-1"), Sender("key-2")
    published, asked = [first], 0

    async def fetch():
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {each.identifier: pem(each.key) for each in published}

    ring = github.KeyRing(fetch, clock)
    assert asked == 0
    # Many alerts at once ask once, and none is refused for being early.
    found = await asyncio.gather(*(ring.find("key-1") for _ in range(10)))
    assert None not in found
    assert asked == 1
    # A flood of unknown identifiers is no flood of questions.
    clock.advance(59)
    for number in range(50):
        with pytest.raises(Unacceptable):
            await ring.find(f"forged {number}")
    # Nor does it have a key refused for long that is published meanwhile.
    published.append(second)
    with pytest.raises(Unacceptable):
        await ring.find("key-2")
    assert asked == 1
    published.remove(second)
    clock.advance(1)
    assert await ring.find("key-2") is None
    clock.advance(59)
    assert asked == 2
    published.append(second)
    clock.advance(2)
    assert await ring.find("key-2") is not None
    assert asked == 3
    # A key that GitHub withdraws is forgotten within a day.
    published.remove(first)
    clock.advance(23 * 3600)
    assert await ring.find("key-1") is not None
    clock.advance(3601)
    assert await ring.find("key-1") is None
    assert asked == 4


async def test_while_keys_cannot_be_had_alerts_wait(akeys, clock, sender, caplog):
    works, asked = False, 0

    async def fetch():
        nonlocal asked
        asked += 1
        if not works:
            raise OSError("no route to host")
        return {sender.identifier: pem(sender.key)}

    ring = github.KeyRing(fetch, clock)
    for _ in range(3):
        with pytest.raises(Unacceptable) as caught:
            await ring.find(sender.identifier)
        assert caught.value.status == 503
    assert asked == 1
    assert "cannot be had" in caplog.text
    works = True
    clock.advance(61)
    assert await ring.find(sender.identifier) is not None
    works = False
    clock.advance(24 * 3600)
    assert await ring.find(sender.identifier) is not None  # better an old key than none
    with pytest.raises(Unacceptable):
        await ring.find("key-2")
    assert asked == 3


async def test_the_applications_function_is_asked(akeys, sender):
    async def fetch():
        return {sender.identifier: pem(sender.key)}

    office = Office(akeys, github_keys=fetch)
    body = alert(generate("phs_"))
    await send(office, body, sender.headers(body))


async def test_github_is_asked_as_its_documentation_says(akeys, sender, monkeypatch):
    asked = []

    def publish(request):
        asked.append(str(request.url))
        assert "authorization" not in request.headers
        key = {"key_identifier": sender.identifier, "key": pem(sender.key), "is_current": True}
        return httpx.Response(200, json={"public_keys": [key]})

    plain = httpx.AsyncClient
    office = Office(akeys, github_keys="github")
    person = Person(office.app)
    transport = httpx.MockTransport(publish)
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **options: plain(transport=transport, **options)
    )
    body = alert(generate("phs_"))
    for _ in range(2):
        await person.ask("POST", PATH, 200, content=body, headers=sender.headers(body))
    assert asked == ["https://api.github.com/meta/public_keys/secret_scanning"]


async def test_keys_that_are_none_are_refused_at_once(akeys):
    other = ec.generate_private_key(ec.SECP384R1())
    for wrong in (
        {"a": "no PEM"},
        {"a": ""},
        {"a": pem(other)},
        {"a": pem(ed25519.Ed25519PrivateKey.generate())},
        "gitlab",
    ):
        with pytest.raises(ValueError, match="github_keys: "):
            create_app(akeys, github_keys=wrong)
