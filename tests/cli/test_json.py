"""What `--json` says."""

from __future__ import annotations

import json

import click

from cli.driving import COMMANDS, ISSUE, PERSONAL, TOKEN
from keymw.cli import cli


def test_json_of_every_command(run):
    assert run.json("migrate") == {"migrated": True}
    issued = run.json(*ISSUE, "--actor", "bea")
    assert set(issued) == {"token", "key"}
    key = issued["key"]
    assert TOKEN.fullmatch(issued["token"])
    assert set(key) == {
        *("id", "kind", "label", "mask", "scopes", "version", "created_at", "project_id"),
        *("user_id", "projects", "organizations", "created_by", "expires_at", "revoked_at"),
        *("last_used_at", "last_rolled_at"),
    }
    assert (key["kind"], key["project_id"], key["user_id"]) == ("project_secret", "2", None)
    assert key["scopes"] == ["endpoint:read"]
    assert run.json("show", key["id"]) == key | {"retired": []}
    assert run.json("list") == [key]
    assert run.json("verify", stdin=issued["token"]) == {
        "granted": True,
        "kind": "project_secret",
        "key_id": key["id"],
        "project_id": "2",
        "label": "deploy",
        "scopes": ["endpoint:read"],
        "mask": key["mask"],
        "retired_until": None,
    }
    rolled = run.json("roll", key["id"])
    unheard = {"acknowledged": False, "bound_seconds": 5.0}
    assert rolled["propagation"] == unheard
    assert rolled["key"]["version"] == 2
    assert TOKEN.fullmatch(rolled["token"])
    revoked = {"key_id": key["id"], "revoked": True, "propagation": unheard}
    assert run.json("revoke", key["id"]) == revoked
    denied = run("verify", "--json", stdin=rolled["token"])
    assert denied.exit_code == 1
    assert json.loads(denied.stdout) == {
        "granted": False,
        "reason": "revoked_key",
        "detail": "The API key has been revoked.",
    }

    limits = ("--project", "2", "--project", "3", "--organization", "9")
    personal = run.json(*PERSONAL, *limits)
    assert personal["key"]["projects"] == ["2", "3"]
    assert personal["key"]["organizations"] == ["9"]
    who = run.json("verify", stdin=personal["token"])
    assert (who["kind"], who["user_id"], who["projects"]) == ("personal", "anna", ["2", "3"])
    gone = {"user_id": "anna", "active": False, "propagation": unheard}
    counted = {"personal_keys": 1, "project_keys": []}
    assert run.json("users", "deactivate", "anna") == gone | counted
    assert run.json("users", "activate", "anna") == {**gone, "active": True}
    first = run.json("history")[-1]
    assert first["after"]["label"] == "deploy"
    assert {name: first[name] for name in ("seq", "action", "actor", "key_id")} == {
        "seq": 1,
        "action": "issued",
        "actor": "bea",
        "key_id": key["id"],
    }


def test_no_limit_on_a_personal_key_is_null(run):
    key = run.json(*PERSONAL)["key"]
    assert (key["projects"], key["organizations"]) == (None, None)


def leaves(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_takes_json_and_none_a_token():
    found = dict(leaves(cli))
    # `routes` looks at an app, and needs no database.
    assert set(found) == {*COMMANDS, "routes"}
    for command in found.values():
        names = {parameter.name for parameter in command.params}
        assert "as_json" in names
        assert not {name for name in names if "token" in name or "secret" in name}
        assert command.help
    (option,) = found["verify"].params
    assert option.name == "as_json"
