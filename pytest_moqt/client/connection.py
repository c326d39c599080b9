"""The QUIC connection beneath a session: what a case asks of it, may do to it, and learns of it.

Rules:

- A session has one only when a case asked for it by `QuicOptions`: the log that facts are read from costs
  time for every packet, and nothing of this module is loaded for the other cases.
- Facts are what was observed: frames and packets of the log, and what TLS agreed on. What nobody has seen
  yet is None.
- Every wait has its own deadline and tells whether it was met; what that means is the case's to say.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.logger import QuicLogger
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite, SessionTicket

from pytest_moqt.client import aioquic_internals as internals
from pytest_moqt.client.errors import name_of

if TYPE_CHECKING:
    from pytest_moqt.client.quic import ClientTransport

VERSION_1 = int(QuicProtocolVersion.VERSION_1)
VERSION_2 = int(QuicProtocolVersion.VERSION_2)
VERSION_NAMES = {VERSION_1: "1", VERSION_2: "2"}

EARLY_DATA = 0xFFFFFFFF
"The one value that allows early data in a QUIC server's ticket (RFC 9001 section 4.6.1)."


@dataclass(frozen=True, slots=True)
class Loss:
    """A link that loses datagrams, in both directions alike; the same seed loses in the same places."""

    seed: int
    share: float = 0.3
    "Of the datagrams that could be lost."
    burst: int = 3
    "Datagrams that are lost in a row at most, each direction for itself."


@dataclass(frozen=True)
class Ticket:
    """A session ticket of the relay's; opaque."""

    value: SessionTicket

    @property
    def early_data(self) -> bool:
        """Whether the relay lets data be sent with it before the handshake is complete."""
        return self.value.max_early_data_size == EARLY_DATA

    def without_early_data(self) -> Ticket:
        """The same ticket for a connection that is to send none."""
        return Ticket(dataclasses.replace(self.value, max_early_data_size=None))


@dataclass(frozen=True, slots=True)
class QuicOptions:
    """What a case asks of the QUIC connection beneath a session; what it leaves out is as always."""

    ciphers: tuple[str, ...] = ()
    "Names of TLS 1.3 cipher suites, the only ones offered."
    versions: tuple[int, ...] = ()
    "Versions of QUIC that are spoken, most wanted first; the first packet has the first of them."
    first_version: int | None = None
    "That of the first packet instead."
    max_data: int | None = None
    "Bytes that the relay may have sent at first, on all streams together."
    max_stream_data: int | None = None
    "The same for each stream."
    peer_streams: int | None = None
    "Streams of each kind that the relay may have open at a time."
    keep_tickets: bool = False
    "Whether the relay may give session tickets."
    ticket: Ticket | None = None
    "Resumes the session that it is of."
    early_setup: bool = False
    "Send SETUP before the handshake is complete, with a ticket that allows it; over raw QUIC only."
    token: bytes = b""
    "An address validation token for the first packet (RFC 9000 section 8.1)."
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class QuicFacts:
    """What is known of a connection."""

    version: str | None = None
    "`1` or `2`, in hexadecimal what is neither."
    version_negotiation: bool = False
    "Whether the relay answered the first packet with Version Negotiation."
    cipher: str | None = None
    retry: int = 0
    "Retry packets that were taken."
    confirmed: bool = False
    "Whether HANDSHAKE_DONE came."
    tickets: int = 0
    resumed: bool | None = None
    early_data: str | None = None
    "`accepted` or `rejected`; None when none was offered."
    early_octets: int = 0
    "Bytes of streams that were sent in 0-RTT packets."
    key_phase: int = 0
    "Of the packets that we send."
    key_updates: int = 0
    "Begun by us and carried out, on our side."
    path_challenges: int = 0
    "PATH_CHALLENGE frames that came."
    path_responses: int = 0
    "PATH_RESPONSE frames of ours."
    active_migration: bool | None = None
    "Whether the relay lets a client change its address on purpose."
    spare_connection_ids: int = 0
    "That the relay gave and that are not in use."
    max_datagram_frame: int = 0
    "Bytes of the DATAGRAM frames that the relay takes; 0: it takes none (RFC 9221 section 3)."
    limits_raised: int = 0
    "MAX_DATA and MAX_STREAM_DATA frames of ours."
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    "Packets of the relay's that could not be taken, by reason."
    handshake_ms: float | None = None
    "From the start of dialling."
    quic_error: str | None = None
    "Code and reason with which QUIC itself ended the connection, whoever ended it."

    def report(self) -> dict[str, Any]:
        """The facts that tell something, for a report: what did not happen is left out, but for some."""
        always = ("version", "cipher", "retry", "resumed", "early_data", "key_phase", "path_challenges")
        values = dataclasses.asdict(self)
        return {
            name: "none" if value is None else value
            for name, value in values.items()
            if name in always or value not in (None, 0, False, {})
        }


class LossyLink:
    """A link that loses what `Loss` says."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._random = {sent: random.Random(f"{loss.seed} {sent}") for sent in (True, False)}
        self._lost = {True: 0, False: 0}

    def loses(self, *, sent: bool) -> bool:
        """Whether the next datagram in that direction is lost."""
        drawn = self._random[sent].random() < self._loss.share
        self._lost[sent] = self._lost[sent] + 1 if drawn and self._lost[sent] < self._loss.burst else 0
        return self._lost[sent] > 0


class _Tally:
    """What the log of a connection has, counted."""

    def __init__(self) -> None:
        self.packets: Counter[str] = Counter()
        "Received, by type."
        self.received: Counter[str] = Counter()
        "Frames, by type."
        self.sent: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.early_octets = 0
        self.key_changes = 0
        self.active_migration: bool | None = None

    def take(self, name: str, data: dict[str, Any]) -> None:
        """Count one event."""
        match name:
            case "transport:packet_received":
                self.packets[data["header"]["packet_type"]] += 1
                self.received.update(frame["frame_type"] for frame in data["frames"])
            case "transport:packet_sent":
                self.sent.update(frame["frame_type"] for frame in data["frames"])
                if data["header"]["packet_type"] == "0RTT":
                    self.early_octets += sum(frame.get("length", 0) for frame in data["frames"])
            case "transport:packet_dropped":
                # Zeros behind the last packet of a datagram, with which some servers fill it, are no packet.
                if data["trigger"] != "header_parse_error":
                    self.dropped[data["trigger"]] += 1
            case "transport:parameters_set" if data["owner"] == "remote":
                self.active_migration = not data.get("disable_active_migration", False)
            case "security:key_updated" if data["trigger"] == "local_update":
                self.key_changes += 1


class Connection:
    """The QUIC connection beneath a session."""

    def __init__(self, options: QuicOptions, configuration: QuicConfiguration) -> None:
        """Make the connection; it sends nothing before it is told to.

        Args:
            options: What the case asks for.
            configuration: What is as always; changed here.
        """
        self.options = options
        self.tickets: list[Ticket] = []
        "Given by the relay, the oldest first."
        self._log = QuicLogger()
        self._transport: ClientTransport | None = None
        self._prepare(configuration)
        self.quic = internals.ClientConnection(
            configuration=configuration,
            session_ticket_handler=self._keep if options.keep_tickets else None,
        )
        if options.peer_streams is not None:
            internals.allow_peer_streams(self.quic, options.peer_streams)

    def _prepare(self, configuration: QuicConfiguration) -> None:
        options = self.options
        configuration.quic_logger = self._log
        if options.ciphers:
            configuration.cipher_suites = [CipherSuite[name] for name in options.ciphers]
        if options.versions:
            configuration.supported_versions = list(options.versions)
        configuration.original_version = options.first_version
        configuration.max_data = options.max_data or configuration.max_data
        configuration.max_stream_data = options.max_stream_data or configuration.max_stream_data
        configuration.token = options.token
        if options.ticket is not None:
            configuration.session_ticket = options.ticket.value

    def attach(self, transport: ClientTransport) -> None:
        """Take note of what carries it."""
        self._transport = transport
        transport.connection = self
        if self.options.loss is not None:
            transport.driver.link = LossyLink(self.options.loss)

    # ---- what it did -------------------------------------------------------------------------------

    @property
    def facts(self) -> QuicFacts:
        """What is known by now; also when the connection is over, or never came about."""
        quic = self.quic
        handshake = {} if self._transport is None else self._transport.handshake
        version = internals.quic_version(quic)
        close = internals.close_of(quic)
        early = handshake.get("early_data_accepted")
        elapsed = handshake.get("elapsed_ms")
        tally = _Tally()
        for trace in self._log.to_dict()["traces"]:
            for event in trace["events"]:
                tally.take(event["name"], event["data"])
        return QuicFacts(
            version=None if version is None else VERSION_NAMES.get(version, f"{version:#x}"),
            version_negotiation=tally.packets["version_negotiation"] > 0,
            cipher=internals.cipher_suite(quic),
            retry=tally.packets["retry"],
            confirmed=internals.is_confirmed(quic),
            tickets=len(self.tickets),
            resumed=_truth(handshake.get("session_resumed")),
            early_data=None if not self._offers_early or early is None else _verdict(bool(early)),
            early_octets=tally.early_octets,
            key_phase=internals.key_phase(quic),
            # One event for each direction.
            key_updates=tally.key_changes // 2,
            path_challenges=tally.received["path_challenge"],
            path_responses=tally.sent["path_response"],
            active_migration=tally.active_migration,
            spare_connection_ids=internals.spare_connection_ids(quic),
            max_datagram_frame=internals.datagram_limit(quic),
            limits_raised=tally.sent["max_data"] + tally.sent["max_stream_data"],
            dropped=dict(tally.dropped),
            handshake_ms=elapsed if isinstance(elapsed, float) else None,
            quic_error=None
            if close is None or close.frame_type is None
            else f"{name_of(close.code)}: {close.reason}".removesuffix(": "),
        )

    @property
    def _offers_early(self) -> bool:
        ticket = self.options.ticket
        return ticket is not None and ticket.early_data

    def _keep(self, ticket: SessionTicket) -> None:
        self.tickets.append(Ticket(ticket))

    # ---- what a case may do to it ------------------------------------------------------------------

    async def wait_confirmed(self, seconds: float) -> bool:
        """Whether the relay says within that time that the handshake is complete (HANDSHAKE_DONE)."""
        return await self._until(lambda: internals.is_confirmed(self.quic), seconds)

    async def wait_ticket(self, seconds: float) -> Ticket | None:
        """The relay's newest session ticket; None when it gives none within that time."""
        await self._until(lambda: bool(self.tickets), seconds)
        return self.tickets[-1] if self.tickets else None

    async def ping(self, seconds: float) -> bool:
        """Whether the relay acknowledges within that time that it received all sent so far."""
        return await self._carrier.ping(seconds)

    def mend(self) -> None:
        """Lose no datagrams any more."""
        self._carrier.driver.link = None

    def update_key(self) -> None:
        """Use new keys from the next packet on; nothing should be on its way.

        aioquic keeps no old ones: a packet that comes later can be read only if the relay updated too.
        """
        self.quic.request_key_update()

    async def change_port(self) -> None:
        """Go on from a new port, as after a NAT has rebound: the old one is closed, and nothing is said."""
        await self._carrier.driver.change_port()

    def withhold_credit(self) -> None:
        """Let the relay send no more than it may by now, as if what comes were read no longer."""
        self.quic.withholds_credit = True

    def release_credit(self, octets: int) -> None:
        """Let the relay send so many bytes more, on all streams together, while credit is withheld."""
        self.quic.extend_credit(octets)
        self._carrier.driver.send_soon()

    async def wait_credit_used(self, seconds: float) -> bool:
        """Whether the relay sends within that time all that it may while credit is withheld."""
        return await self._until(lambda: self.quic.credit_left <= 0, seconds)

    def grant_credit(self) -> None:
        """Let the relay send again, as if all were read that has come."""
        self.quic.withholds_credit = False
        self._carrier.driver.send_soon()

    def change_connection_id(self) -> None:
        """Address the relay by another of the ids that it gave, and retire the one in use."""
        self.quic.change_connection_id()

    @property
    def _carrier(self) -> ClientTransport:
        assert self._transport is not None, "attached before anything is sent"
        return self._transport

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Whether a condition holds within that time; looked at after every datagram."""
        if holds():
            return True
        transport = self._carrier
        met = asyncio.get_running_loop().create_future()

        def look() -> None:
            if not met.done() and (transport.closed is not None or holds()):
                met.set_result(None)

        transport.watchers.append(look)
        try:
            await asyncio.wait({met}, timeout=seconds)
        finally:
            transport.watchers.remove(look)
        return holds()


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _verdict(accepted: bool) -> str:
    return "accepted" if accepted else "rejected"
