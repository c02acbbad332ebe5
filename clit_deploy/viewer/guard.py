"""Who may talk to the viewer: pages of this machine that know its token."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
"""Names of this machine. Another name that leads here is DNS rebinding."""

_POLICY = (
    "default-src 'none'; script-src 'self'; img-src 'self' blob: data:; "
    # OpenSeadragon adds one style element, whose hash this is.
    "style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FRAMES = "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"


class Guard:
    """Lets a request through if its `Host` is this machine and its path begins with the token.

    Args:
        app: what answers; its paths have no token.
        token: the secret.
        framed: whether pages of this machine may show the viewer in a frame.
    """

    def __init__(self, app: ASGIApp, token: str, *, framed: bool) -> None:
        self._app, self._token = app, token
        self._headers = {
            "Content-Security-Policy": _POLICY + (_FRAMES if framed else "'none'"),
            **_HEADERS,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        first, _, rest = scope["path"].lstrip("/").partition("/")
        if _name(Headers(scope=scope).get("host", "")) not in LOOPBACK:
            answer = PlainTextResponse("The viewer answers to this machine only.\n", 403)
            await answer(scope, receive, with_headers)
        elif not secrets.compare_digest(first.encode(), self._token.encode()):
            answer = PlainTextResponse(
                "The address is not complete; copy all of what clit-deploy view has printed.\n", 403
            )
            await answer(scope, receive, with_headers)
        else:
            await self._app({**scope, "path": f"/{rest}"}, receive, with_headers)


def _name(host: str) -> str:
    """A host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
