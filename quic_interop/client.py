"""Runs a test case as the client: fetches the files as it plans, and looks at what was seen meanwhile."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial

from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import SessionTicket

from quic_interop.cases import Plan
from quic_interop.configuration import client_configuration
from quic_interop.connection import ClientConnection, Facts, Patience, Unreachable
from quic_interop.downloads import Download, Downloads
from quic_interop.errors import InteropError
from quic_interop.network import Link
from quic_interop.settings import ClientSettings, Request
from quic_interop.verdict import shortcoming


def tell(line: str) -> None:
    """Write a line to standard error."""
    print(line, file=sys.stderr, flush=True)


async def run(
    settings: ClientSettings,
    *,
    patience: Patience | None = None,
    link: Link | None = None,
    told: Callable[[str], None] = tell,
) -> list[Facts]:
    """Run a case.

    Args:
        settings: What to do.
        patience: How long to wait for a server.
        link: What happens to datagrams on the way.
        told: Takes a line about each connection.

    Returns:
        What was seen of each connection, in their order. All files are whole then.

    Raises:
        InteropError: A file did not come, or the case's own feature was not seen; no partial file is left.
    """
    with ExitStack() as stack:
        configuration = client_configuration(settings.case, settings.logs, stack)
        downloads = Downloads(settings.downloads)
        stack.callback(downloads.discard)
        run = _Run(settings, configuration, downloads, patience or Patience(), link, told)
        for requests in _by_server(settings.requests):
            await run.fetch(requests)
        problem = shortcoming(settings.case, run.seen)
        if problem is not None:
            raise InteropError(problem)
        return run.seen


def _by_server(requests: Sequence[Request]) -> list[list[Request]]:
    groups: dict[str, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.authority, []).append(request)
    return list(groups.values())


class _Run:
    """The connections of one run."""

    def __init__(
        self,
        settings: ClientSettings,
        configuration: QuicConfiguration,
        downloads: Downloads,
        patience: Patience,
        link: Link | None,
        told: Callable[[str], None],
    ) -> None:
        self.seen: list[Facts] = []
        self._case = settings.case
        self._configuration = configuration
        self._downloads = downloads
        self._patience = patience
        self._link = link
        self._told = told

    async def fetch(self, requests: list[Request]) -> None:
        """Fetch files of one server as the case plans it."""
        plan = self._case.plan
        if plan is Plan.TOGETHER:
            await self._together(requests)
        elif plan is Plan.EACH_ITS_OWN:
            for request in requests:
                await self._together([request])
        else:
            await self._twice(requests)

    async def _together(self, requests: list[Request]) -> None:
        async with self._connected(requests[0]) as connection:
            if self._case.key_update:
                connection.update_keys()
            connection.fetch(self._files(requests))
            await connection.fetched()
            if self._case.key_update:
                await connection.keys_updated()
            if self._case.preferred_address:
                await connection.moved()

    async def _twice(self, requests: list[Request]) -> None:
        first, *rest = requests
        if not rest:
            raise InteropError(f"{self._case.name} needs two connections, and so two URLs; REQUESTS has one")
        async with self._connected(first) as connection:
            connection.fetch(self._files([first]))
            await connection.fetched()
            ticket = await connection.ticket()
        if self._case.plan is Plan.EARLY:
            async with self._connected(rest[0], ticket, early=rest) as connection:
                await connection.fetched()
        else:
            # A ticket that allows no early data: the session is resumed without any.
            ticket = dataclasses.replace(ticket, max_early_data_size=None)
            async with self._connected(rest[0], ticket) as connection:
                connection.fetch(self._files(rest))
                await connection.fetched()

    def _files(self, requests: Sequence[Request]) -> list[tuple[str, Callable[[], Download]]]:
        return [(request.path, partial(self._downloads.begin, request.name)) for request in requests]

    @asynccontextmanager
    async def _connected(
        self, request: Request, ticket: SessionTicket | None = None, *, early: Sequence[Request] = ()
    ) -> AsyncIterator[ClientConnection]:
        connection = await self._connect(request, ticket, early)
        try:
            yield connection
            self.seen.append(connection.facts)
            self._told(f"connection {len(self.seen)}: {connection.facts}")
        finally:
            connection.close()

    async def _connect(
        self, request: Request, ticket: SessionTicket | None, early: Sequence[Request]
    ) -> ClientConnection:
        """A connection to the first of the server's addresses where anyone is."""
        configuration = dataclasses.replace(
            self._configuration, server_name=request.host, session_ticket=ticket
        )
        unreachable: Unreachable | None = None
        for family, address in await _addresses(request):
            try:
                connection = ClientConnection(
                    configuration,
                    family,
                    address,
                    request.authority,
                    patience=self._patience,
                    link=self._link,
                )
            except Unreachable as error:
                unreachable = error
                continue
            try:
                connection.fetch(self._files(early))
                await connection.handshake()
            except Unreachable as error:
                connection.close()
                unreachable = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        assert unreachable is not None
        raise unreachable


async def _addresses(request: Request) -> list[tuple[int, tuple[object, ...]]]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(request.host, request.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise InteropError(f"{request.host} has no address: {error.strerror or error}") from None
    return [(family, address) for family, _, _, _, address in found]
