"""A relay inside this process: on loopback, in a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.certificates import Identity, self_signed
from pytest_moqt.relay.defects import behaviour_of
from pytest_moqt.relay.features import Features
from pytest_moqt.relay.server import Server, bind

HOST = "127.0.0.1"

STOP_SECONDS = 5.0
"How long `stop` waits for the thread; it takes milliseconds."


class EmbeddedRelay:
    """A relay for tests of this machine; a context manager.

    Args:
        drafts: Draft numbers spoken.
        defect: The name of a defect in `DEFECTS`; None is a correct relay.
        behaviour: How it decides, in place of a defect's way.
        port: UDP port; 0 is a free one.
        identity: Certificate and key; by default a new self-signed one.
        transport: `auto`, `quic` or `webtransport`.
        features: What of QUIC it offers.

    Raises:
        KeyError: There is no such defect, or no such draft.
    """

    def __init__(
        self,
        *,
        drafts: Sequence[int] = SUPPORTED,
        defect: str | None = None,
        behaviour: Behaviour | None = None,
        port: int = 0,
        identity: Identity | None = None,
        transport: str = "auto",
        features: Features | None = None,
    ) -> None:
        self.drafts = tuple(drafts)
        self.defect = defect
        self.port = port
        "The UDP port; known when started."
        self.certificate = b""
        "Its certificate as PEM, to verify the relay against; known when started."
        self.ca_file = ""
        "A file with that, there while it runs; empty where no file can be written."
        self._behaviour = behaviour or behaviour_of(defect)
        self._identity = identity
        self._transport = transport
        self._features = features
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._server: Server | None = None
        self._directory: str | None = None
        self._failure: BaseException | None = None

    def start(self) -> int:
        """Start, and return the port: clients may dial at once.

        Raises:
            OSError: The port is in use.
        """
        if self._thread is not None:
            raise RuntimeError("the relay is running already")
        identity = self._behaviour.identity(self._identity or self_signed())
        bound = bind(HOST, self.port)
        self.port = bound.getsockname()[1]
        self.certificate = identity.pem
        # On a read-only file system the relay works all the same, and `certificate` has what a client needs.
        with contextlib.suppress(OSError):
            self._directory = tempfile.mkdtemp(prefix="moq-test-relay-")
            path = Path(self._directory, "certificate.pem")
            path.write_bytes(self.certificate)
            self.ca_file = str(path)
        started = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            server = Server(
                self._loop,
                identity,
                drafts=self.drafts,
                transport=self._transport,
                behaviour=self._behaviour,
                features=self._features,
            )
            await self._loop.create_datagram_endpoint(lambda: server, sock=bound)
            self._server = server
            started.set()
            await self._stopping.wait()
            server.close()

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                self._failure = error
            finally:
                bound.close()
                started.set()

        self._thread = threading.Thread(target=run, name="moq-test-relay", daemon=True)
        self._thread.start()
        started.wait()
        if self._failure is not None:
            failure = self._failure
            self.stop()
            raise failure
        return self.port

    def url(self, transport: str = "webtransport") -> str:
        """The URL to dial: `moqt://` for `quic`, `https://` for anything else."""
        scheme = "moqt" if transport == "quic" else "https"
        return f"{scheme}://{HOST}:{self.port}"

    def go_away(self, seconds: float) -> None:
        """Say GOAWAY to all clients; those that have not gone in so many seconds are closed.

        Raises:
            RuntimeError: The relay is not running.
        """
        if self._thread is None or self._loop is None or self._server is None:
            raise RuntimeError("the relay is not running")
        self._loop.call_soon_threadsafe(self._server.go_away, seconds)

    def stop(self) -> None:
        """Close all connections and the socket; a second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive() and self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join(STOP_SECONDS)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> EmbeddedRelay:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
