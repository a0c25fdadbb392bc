"""The examples, one a framework, and the server that each is tried under."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class App:
    """An example app."""

    #: As the table names it.
    name: str
    #: The module, and `:attribute` where the app is not named `app`.
    module: str
    server: str
    #: What it is built with, as it is installed.
    package: str | None = None

    @property
    def title(self) -> str:
        """The name, and the version that is installed."""
        return f"{self.name} {version(self.package)}" if self.package else self.name


APPS = (
    App("plain ASGI", "asgi_endpoints", "uvicorn"),
    App("Starlette", "starlette_endpoints", "uvicorn", "starlette"),
    App("FastAPI", "fastapi_endpoints", "uvicorn", "fastapi"),
    App("Quart", "quart_endpoints", "uvicorn", "quart"),
    App("Litestar", "litestar_endpoints", "uvicorn", "litestar"),
    App("Falcon, ASGI", "falcon_asgi_endpoints", "uvicorn", "falcon"),
    App("Django, ASGI", "django_endpoints:asgi_app", "uvicorn", "django"),
    App("plain WSGI", "wsgi_endpoints", "waitress"),
    App("Flask", "flask_endpoints", "waitress", "flask"),
    App("Falcon, WSGI", "falcon_endpoints", "waitress", "falcon"),
    App("Django, WSGI", "django_endpoints", "waitress", "django"),
    App("Bottle", "bottle_endpoints", "waitress", "bottle"),
    App("Pyramid", "pyramid_endpoints", "waitress", "pyramid"),
    App("Django REST framework", "rest_framework_endpoints", "waitress", "djangorestframework"),
)
SERVERS = ("uvicorn", "waitress")


def versions(packages):
    """Name packages with the versions that are installed."""
    return ", ".join(f"{package} {version(package)}" for package in packages)
