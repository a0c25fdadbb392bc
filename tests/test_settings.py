from __future__ import annotations

import dataclasses

import pytest

from keymw import KeyKind, KeyService, Settings

DEFAULTS = Settings()
NUMBERS = [field for field in dataclasses.fields(Settings) if field.type in ("int", "float")]


def test_every_number_is_positive_and_of_its_type():
    assert len(NUMBERS) >= 10
    for field in NUMBERS:
        wrong = [0, -1, "5", None, True, float("inf"), float("nan"), b"1", [1]]
        if field.type == "int":
            wrong.append(1.5)
        for value in wrong:
            with pytest.raises(ValueError, match=f"^{field.name}: "):
                Settings(**{field.name: value})
        assert getattr(Settings(**{field.name: 7}), field.name) == 7


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


def test_the_stated_time():
    assert Settings(redis_timeout=0.5, store_timeout=1.5).patience == 4.0


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
        "KEYMW_MAX_AGE": "5",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for service in (KeyService.from_env(), KeyService.from_env(environ=environ)):
        with service as keys:
            keys.migrate()
            told = keys.deactivate_user("ann")
            assert told.bound.total_seconds() == 5
            assert told.acknowledged
    monkeypatch.setenv("KEYMW_REDIS_URL", "")
    with KeyService.from_env() as keys:
        assert not keys.activate_user("ann").acknowledged
    for environ in ({}, {"KEYMW_DATABASE_URL": ""}):
        with pytest.raises(ValueError, match="KEYMW_DATABASE_URL"):
            KeyService.from_env(environ=environ)
    with pytest.raises(ValueError, match="redis: "):
        KeyService.from_env(environ={"KEYMW_DATABASE_URL": sqlite_url, "KEYMW_REDIS_URL": "x"})
