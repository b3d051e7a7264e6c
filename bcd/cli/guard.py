"""The one password of a home's servers, where `password_file` names one: who asks a page without it gets 401.

Prefect asks for it by itself; MLflow and the page of reports stand behind this check.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_OPEN = "/health"  # `bcd up` asks whether the page answers at all


class Guard:
    """An ASGI application behind HTTP's basic authentication.

    Args:
        app: What is asked once the password is right.
        password: `USER:PASSWORD`.
    """

    def __init__(self, app: ASGIApp, password: str) -> None:
        self._app = app
        self._expected = b"Basic " + b64encode(password.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request itself unless it has the password."""
        from starlette.responses import PlainTextResponse

        is_lifespan, path = scope["type"] == "lifespan", scope.get("path", "")
        if is_lifespan or path == _OPEN or hmac.compare_digest(_read_authorization(scope), self._expected):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        asks = {"WWW-Authenticate": 'Basic realm="bcd", charset="UTF-8"'}
        await PlainTextResponse("A password is needed.", status_code=401, headers=asks)(scope, receive, send)


def guard_app(app: ASGIApp, password: str) -> ASGIApp:
    """Returns an application behind the password; without one, itself."""
    return Guard(app, password) if password else app


def _read_authorization(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")
