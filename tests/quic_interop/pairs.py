"""A client and a server of ours, run against each other in one process, and what there is to judge of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dissection import connections_of, secrets_of
from judgement import Evidence, judge
from wire_capture import Capture

from quic_interop.cases import CASES, Case
from quic_interop.client import run
from quic_interop.connection import Facts, Patience
from quic_interop.errors import InteropError
from quic_interop.network import Link
from quic_interop.server import Running
from quic_interop.settings import ClientSettings, Logs, Request, ServerSettings

HOST = "127.0.0.1"
QUICK = Patience(handshake=10.0, data=10.0, step=0.5)


def content(name: str, size: int) -> bytes:
    """Bytes that no other file has, the same in every run."""
    return hashlib.shake_128(name.encode()).digest(size)


@dataclass
class Site:
    """Folders of a run."""

    root: Path
    certs: Path
    host: str = HOST

    def __post_init__(self) -> None:
        for folder in (self.www, self.downloads):
            folder.mkdir()

    @property
    def www(self) -> Path:
        return self.root / "www"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def keys(self) -> Path:
        return self.root / "client.keys"

    def offer(self, files: dict[str, int]) -> list[str]:
        """Make files of these sizes; their names."""
        for name, size in files.items():
            (self.www / name).write_bytes(content(name, size))
        return list(files)

    def client(self, case: Case, port: int, names: Sequence[str], **logs: Path) -> ClientSettings:
        """What a client is to do."""
        requests = tuple(Request(self.host, port, f"/{name}", name) for name in names)
        return ClientSettings(case, requests, self.downloads, Logs(self.keys, logs.get("qlog")))

    def server(self, case: Case, **logs: Path) -> ServerSettings:
        """What a server is to do."""
        return ServerSettings(
            case, 0, self.certs, self.www, Logs(logs.get("keys"), logs.get("qlog")), self.host
        )


@dataclass
class Outcome:
    """What came of a run."""

    facts: list[Facts] = field(default_factory=list)
    error: str = ""
    "The client's last words; empty when it was content."
    told: list[str] = field(default_factory=list)
    evidence: Evidence | None = None

    def against(self, name: str) -> list[str]:
        """What is against a pass of this case."""
        assert self.evidence is not None
        return judge(name, self.evidence)


async def meet(
    site: Site,
    names: Sequence[str],
    client: str | Case,
    server: str | Case | None = None,
    *,
    link: Link | None = None,
    patience: Patience = QUICK,
    spoil: Callable[[Running], object] | None = None,
) -> Outcome:
    """Run a client against a server.

    Args:
        site: Where.
        names: Of the files to fetch.
        client: The client's case.
        server: The server's; the same where it is None.
        link: What happens to datagrams at the client.
        patience: The client's.
        spoil: What makes the running server wrong.
    """
    client_case = CASES[client] if isinstance(client, str) else client
    server_case = client_case if server is None else CASES[server] if isinstance(server, str) else server
    capture = Capture(at_client=True, beyond=link)
    outcome = Outcome()
    with closing(Running(site.server(server_case))) as running:
        if spoil is not None:
            spoil(running)
        settings = site.client(client_case, running.listener.port, names)
        try:
            outcome.facts = await run(settings, patience=patience, link=capture, told=outcome.told.append)
        except InteropError as error:
            outcome.error = str(error)
    connections = connections_of(capture.datagrams, secrets_of(site.keys))
    outcome.evidence = Evidence(connections, site.www, site.downloads, names)
    return outcome
