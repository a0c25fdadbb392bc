"""A token of every sort that the cases name."""

from __future__ import annotations

from keymw.tokens import generate


def make_tokens(keys):
    """Issue them, and end those that are to be ended."""
    read = ["endpoint:read"]
    project = keys.issue_project_key("2", "nightly-report", read)
    rolled = keys.issue_project_key("2", "rolled", read)
    revoked = keys.issue_project_key("2", "revoked", read)
    found = {
        "project": project.token,
        "scopeless": keys.issue_project_key("2", "scopeless", ["other:read"]).token,
        # Issued before the app's catalog kept such scopes from machines.
        "writer": keys.issue_project_key("2", "writer", ["endpoint:write"]).token,
        "elsewhere": keys.issue_project_key("3", "elsewhere", read).token,
        "rolled": rolled.token,
        "new secret": keys.roll(rolled.key.id).token,
        "revoked": revoked.token,
        "person": keys.issue_personal_key("user-7", "laptop", ["endpoint:write"]).token,
        "reader": keys.issue_personal_key("user-7", "reader", read).token,
        "everything": keys.issue_personal_key("user-7", "everything", ["*"]).token,
        "limited": keys.issue_personal_key("user-7", "limited", ["*"], projects=["3"]).token,
        "gone": keys.issue_personal_key("ben", "gone", ["*"]).token,
        "unknown": generate("phs_"),
        "foreign": "sk_live_1234567890",
        "garbage": "phs_garbage",
        "swapped prefix": "pha_" + project.token.removeprefix("phs_"),
        "broken checksum": project.token[:-1] + ("0" if project.token[-1] != "0" else "1"),
        "upper case": "phs_" + project.token.removeprefix("phs_").upper(),
    }
    keys.revoke(revoked.key.id)
    keys.deactivate_user("ben")
    return found
