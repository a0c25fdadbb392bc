"""Every form of view that Flask knows, guarded."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, stream_with_context
from flask.views import MethodView, View

from decorators.guards import KINDS, guard, humans, of_project, timed, who
from keymw import require_scopes


def flask_app():  # noqa: C901 - one view a form
    app = Flask(__name__)
    blueprint = Blueprint("blueprint", __name__, url_prefix="/blueprint")

    @app.get("/open")
    def open_():
        return who() or "nobody"

    @app.get("/sync")
    @guard
    def sync():
        return who()

    @app.get("/async")
    @guard
    async def asynchronous():
        return who()

    class Methods(MethodView):
        @guard
        def get(self):
            return who()

    class AsyncMethods(MethodView):
        @guard
        async def get(self):
            return who()

    @guard
    class Whole(MethodView):
        def get(self):
            return who()

    @guard
    class Plain(View):
        init_every_request = False

        def dispatch_request(self):
            return who()

    @guard
    class AsyncPlain(View):
        async def dispatch_request(self):
            return who()

    class Decorated(MethodView):
        decorators = [guard]  # noqa: RUF012 - Flask's way

        def get(self):
            return who()

    views = (Methods, AsyncMethods, Whole, Plain, AsyncPlain, Decorated)
    for view in views:
        app.add_url_rule(f"/{view.__name__}", view_func=view.as_view(view.__name__))

    @blueprint.get("/in")
    @guard
    def in_blueprint():
        return who()

    @app.get("/stream")
    @guard
    def stream():
        return Response(stream_with_context(who() for _ in range(1)))

    @app.get("/stream-plain")
    @guard
    def stream_plain():
        return Response(who() for _ in range(1))

    @app.get("/generator")
    @guard
    def generator():
        yield who()

    @app.get("/above")
    @timed
    @guard
    def above():
        return who()

    @app.get("/below")
    @guard
    @timed
    def below():
        return who()

    @app.get("/stacked")
    @guard
    @require_scopes("endpoint:read", kinds=KINDS)
    def stacked():
        return who()

    @app.get("/humans")
    @humans
    def for_humans():
        return who()

    @app.get("/projects/<project_id>/x")
    @of_project
    def project(project_id):
        return project_id

    @app.get("/number/<int:project_id>/x")
    @of_project
    def number(project_id):
        assert project_id == 2
        return str(project_id)

    @app.get("/elsewhere")
    @of_project
    def elsewhere():
        return who()

    app.register_blueprint(blueprint)
    return app


FLASK = [
    "/sync",
    "/async",
    "/Methods",
    "/AsyncMethods",
    "/Whole",
    "/Plain",
    "/AsyncPlain",
    "/Decorated",
    "/blueprint/in",
    "/stream",
    "/stream-plain",
    "/generator",
    "/above",
    "/below",
    "/stacked",
]
