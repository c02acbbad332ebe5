"""The viewer on a port of this machine."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
import threading
from typing import TYPE_CHECKING

from clit_deploy.errors import PortError
from clit_deploy.system.extras import optional_imports
from clit_deploy.system.threads import thread_limit_explained

with optional_imports("The viewer", "view"):
    import uvicorn

    from clit_deploy.viewer.guard import Guard
    from clit_deploy.viewer.routes import application

if TYPE_CHECKING:
    from clit_deploy.viewer.service import Service

HOST = "127.0.0.1"
CONNECTIONS = 128
"""Requests at the same time; more are refused."""


class ViewerServer:
    """A service over HTTP, at an address that holds a random token.

    Args:
        service: what answers; `close` closes it.
        port: to listen on; 0 for a free one.

    Raises:
        PortError: the port is in use, or may not be used.
    """

    def __init__(self, service: Service, port: int = 0) -> None:
        self.service = service
        self._socket = _listening(port)
        token = secrets.token_urlsafe(24)
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}/{token}/"
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it logs tracebacks
        guarded = Guard(application(service), token, framed=service.settings.framed)
        self._server = uvicorn.Server(
            uvicorn.Config(
                guarded,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread: threading.Thread | None = None

    def serve(self) -> None:
        """Answer until `stop` is called."""
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        finally:
            self._socket.close()
            self.service.close()

    def start(self) -> None:
        """Answer on a thread of its own."""
        self._thread = threading.Thread(target=self.serve, name="clit-view", daemon=True)
        with thread_limit_explained():
            self._thread.start()

    def stop(self) -> None:
        """Cancel what is under way, and let `serve` return. For any thread."""
        self._server.should_exit = True
        self.service.queue.close()

    def close(self) -> None:
        """Stop the thread, and wait for it."""
        self.stop()
        if self._thread is not None:
            self._thread.join()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OverflowError:
        raise PortError(f"{port} is not a port; use a number from 0 to 65535.") from None
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "is in use" if in_use else f"cannot be used ({error.strerror})"
        raise PortError(
            f"Port {port} {reason}; choose another one, or leave --port out."
        ) from error
