"""The example under its server, as its docstring says that it is started."""

from __future__ import annotations

import json

from keymw import KeyService
from serving import serve

JSON = [("Content-Type", "application/json")]


def test_people_manage_what_machines_use(tmp_path):
    database = f"sqlite:///{tmp_path}/keymw.db"
    with KeyService(database) as keys:
        keys.migrate()
        scopes = ["api_key:write", "endpoint:read"]
        people = {
            user: keys.issue_personal_key(user, "laptop", scopes).token
            for user in ("user-7", "user-8", "user-9")
        }
    with serve("uvicorn", "management_app", tmp_path, database=database) as app:

        def create(user, project):
            body = json.dumps({"label": f"nightly of {user}", "scopes": ["endpoint:read"]})
            path = f"/manage/projects/{project}/keys"
            return app.ask("POST", path, token=people[user], headers=JSON, body=body.encode())

        assert create("user-7", "3").status == 404
        assert create("user-9", "2").status == 404
        made = create("user-7", "2")
        assert made.status == 201
        token, path = made.json["token"], made.headers["Location"]
        assert path == f"/manage/projects/2/keys/{made.json['key']['id']}"
        run = "/projects/2/run"
        assert app.ask("GET", run, token=token).json == {"rows": 42, "run by": "nightly of user-7"}
        assert app.ask("GET", run, token=people["user-7"]).status == 403
        assert app.ask("GET", path, token=people["user-8"]).status == 200
        assert app.ask("DELETE", path, token=people["user-8"]).status == 200
        assert app.ask("GET", run, token=token).status == 401
