from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from keymw import KeyKind, KeyService, Settings
from keymw.model import Propagation

DEFAULTS = Settings()
NUMBERS = [field for field in dataclasses.fields(Settings) if field.type in ("int", "float")]

#: What has to grow with a setting for it to be possible at all.
WITH = {
    "acknowledged_bound": {"unacknowledged_bound": 10},
    "poll_interval": {"unacknowledged_bound": 10},
}


def settings_with(name, value):
    return Settings(**WITH.get(name, {}) | {name: value})


def test_every_number_is_positive_and_of_its_type():
    assert len(NUMBERS) >= 10
    for field in NUMBERS:
        wrong = [0, -1, "5", None, True, float("inf"), float("nan"), b"1", [1]]
        if field.type == "int":
            wrong.append(1.5)
        for value in wrong:
            with pytest.raises(ValueError, match=f"^{field.name}: "):
                Settings(**{field.name: value})
        assert getattr(settings_with(field.name, 7), field.name) == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (field, value)
            for field in ("project_secret_prefixes", "personal_prefixes")
            for value in [(), "phs_", ["phs_"], None, ("",), ("a b",), ("x" * 33,), (5,), (b"a",)]
        ),
        *(("redis_prefix", value) for value in ["", "a b", "x" * 65, "{a}", "a\n", None, 5, b"a"]),
        *(("accept_unchecksummed", value) for value in ["robot", ("robot",), 5, None, (None,)]),
    ],
)
def test_a_bad_value_names_its_field(field, value):
    with pytest.raises(ValueError, match=f"^{field}: "):
        Settings(**{field: value})


@pytest.mark.parametrize(
    ("project", "personal"),
    [(("k_",), ("k_",)), (("k",), ("k_",)), (("a_", "a_"), ("b_",)), (("a_", "a_b"), ("b_",))],
)
def test_prefixes_that_would_mix_kinds_are_refused(project, personal):
    with pytest.raises(ValueError, match="prefixes"):
        Settings(project_secret_prefixes=project, personal_prefixes=personal)


def test_kinds_may_be_plain_strings():
    for given in ("personal", ["personal"], (KeyKind.PERSONAL,), {"personal"}):
        assert Settings(accept_unchecksummed=given).accept_unchecksummed == (KeyKind.PERSONAL,)


def test_prefixes_by_kind():
    several = Settings(project_secret_prefixes=("new_", "old_"))
    assert several.prefixes(KeyKind.PROJECT_SECRET) == ("new_", "old_")
    assert several.prefixes(KeyKind.PERSONAL) == ("pha_",)


def test_the_stated_times():
    settings = Settings(redis_timeout=0.5, store_timeout=1.5)
    assert settings.patience == 4.375
    assert settings.fill_patience == 0.375
    settings = Settings(acknowledged_bound=2.0, unacknowledged_bound=20.0)
    assert settings.stream_lease == pytest.approx(1.8)
    assert settings.feed_lease == pytest.approx(18.0)
    assert settings.heartbeat == pytest.approx(0.45)


def test_the_bounds_that_people_are_told():
    assert (DEFAULTS.acknowledged_bound, DEFAULTS.unacknowledged_bound) == (1.0, 5.0)
    assert DEFAULTS.stream_lease < DEFAULTS.acknowledged_bound
    assert DEFAULTS.feed_lease < DEFAULTS.unacknowledged_bound
    # A process hears several times before its lease runs out, so one lost answer costs nothing.
    assert 3 * DEFAULTS.heartbeat < DEFAULTS.stream_lease
    assert 3 * DEFAULTS.poll_interval < DEFAULTS.feed_lease


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("unacknowledged_bound", {"unacknowledged_bound": 0.9, "poll_interval": 0.1}),
        ("unacknowledged_bound", {"acknowledged_bound": 5.1}),
        ("poll_interval", {"poll_interval": 5.0}),
        ("poll_interval", {"poll_interval": 4.5}),  # the lease itself
        ("poll_interval", {"acknowledged_bound": 0.5, "unacknowledged_bound": 1.0}),
    ],
)
def test_bounds_that_cannot_be_kept_are_refused(field, given):
    with pytest.raises(ValueError, match=f"^{field}: it "):
        Settings(**given)


def test_bounds_that_can_just_be_kept():
    Settings(acknowledged_bound=5.0)
    assert Settings(poll_interval=4.4).poll_interval < DEFAULTS.feed_lease
    Settings(acknowledged_bound=0.01, unacknowledged_bound=0.01, poll_interval=0.008)


def test_an_empty_environment_is_the_defaults():
    assert Settings.from_env({}) == DEFAULTS
    assert (
        Settings.from_env({"KEYMW_DATABASE_URL": "x", "PATH": "y", "KEYMW_OTHER": "z"}) == DEFAULTS
    )


def test_every_field_from_the_environment():
    given = {
        "project_secret_prefixes": ("new_, old_", ("new_", "old_")),
        "personal_prefixes": ("me_", ("me_",)),
        "accept_unchecksummed": ("personal,project_secret", tuple(reversed(KeyKind))),
        "redis_prefix": ("app:keys", "app:keys"),
    }
    given |= {field.name: ("3", 3) for field in NUMBERS}
    assert set(given) == {field.name for field in dataclasses.fields(Settings)}
    # Others are measured by it, so it has to be above them.
    given["unacknowledged_bound"] = ("9", 9)
    environ = {f"KEYMW_{name.upper()}": text for name, (text, _) in given.items()}
    found = Settings.from_env(environ)
    assert {name: getattr(found, name) for name in given} == {
        name: value for name, (_, value) in given.items()
    }
    assert Settings.from_env({"KEYMW_MAX_AGE": "2.5"}).max_age == 2.5
    assert Settings.from_env({"KEYMW_ACCEPT_UNCHECKSUMMED": ""}).accept_unchecksummed == ()


def test_a_bad_variable_names_its_field():
    texts = {field.name: ["", "x", "-1", "0", "nan", "inf"] for field in NUMBERS}
    texts |= {
        "project_secret_prefixes": ["", ",", "a b"],
        "personal_prefixes": ["", "\u00fc_"],
        "accept_unchecksummed": ["robot", "personal,,robot"],
        "redis_prefix": ["", "a b"],
    }
    assert set(texts) == {field.name for field in dataclasses.fields(Settings)}
    for name, bad in texts.items():
        for text in bad:
            with pytest.raises(ValueError, match=f"(?i){name}: "):
                Settings.from_env({f"KEYMW_{name.upper()}": text})


def test_a_service_from_the_environment(monkeypatch, sqlite_url, redis_url):
    environ = {
        "KEYMW_DATABASE_URL": sqlite_url,
        "KEYMW_REDIS_URL": redis_url,
        "KEYMW_ACKNOWLEDGED_BOUND": "2.5",
        "KEYMW_UNACKNOWLEDGED_BOUND": "7.5",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for service in (KeyService.from_env(), KeyService.from_env(environ=environ)):
        with service as keys:
            keys.migrate()
            told = keys.deactivate_user("ann")
            assert (told.acknowledged, told.bound) == (True, timedelta(seconds=2.5))
    monkeypatch.setenv("KEYMW_REDIS_URL", "")
    with KeyService.from_env() as keys:
        told = keys.activate_user("ann")
        assert told == Propagation(acknowledged=False, bound=timedelta(seconds=7.5))
    for environ in ({}, {"KEYMW_DATABASE_URL": ""}):
        with pytest.raises(ValueError, match="KEYMW_DATABASE_URL"):
            KeyService.from_env(environ=environ)
    with pytest.raises(ValueError, match="redis: "):
        KeyService.from_env(environ={"KEYMW_DATABASE_URL": sqlite_url, "KEYMW_REDIS_URL": "x"})
