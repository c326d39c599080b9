"""Relays whose QUIC is wrong in one way, or that do not offer a part of it that they need not offer.

They are defects of the relay like the others, so that `--defect` has them and the page of defects shows them,
but most of them spoil no session that does nothing unusual. They are judged with the profile `quic` only:
what they would do to the other cases is what any lost connection does to them.
"""

from __future__ import annotations

import dataclasses

from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import SessionTicket

from pytest_moqt.protocol.messages import RequestError
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.relay import broken_quic
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import QUIC, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.internals import ServerConnection

CONNECTIONS = 19
"That a relay takes before it takes no more: the cases before `quic-multiconnect` need fewer."

HANDSHAKE = frozenset({"quic-handshake"})
TRANSFER = frozenset({"quic-transfer"})
RETRY = frozenset({"quic-retry"})
KEYUPDATE = frozenset({"quic-keyupdate"})
CHACHA20 = frozenset({"quic-chacha20"})
V2 = frozenset({"quic-v2"})
VN = frozenset({"quic-vn"})
RESUMPTION = frozenset({"quic-resumption"})
ZERORTT = frozenset({"quic-zerortt"})
MIGRATION = frozenset({"quic-connectionmigration"})
MULTICONNECT = frozenset({"quic-multiconnect"})
ANY = (
    HANDSHAKE
    | TRANSFER
    | RETRY
    | KEYUPDATE
    | CHACHA20
    | V2
    | VN
    | RESUMPTION
    | ZERORTT
    | MIGRATION
    | MULTICONNECT
)

beneath = Chapter("QUIC", profile=QUIC)


class _Spoken(Behaviour):
    """A relay whose QUIC is one of those in `broken_quic`."""

    server: type[ServerConnection]

    def quic(self, usual: type[ServerConnection]) -> type[ServerConnection]:  # noqa: ARG002 - replaced
        return self.server


@beneath(
    "quic-wrong-origin",
    "It says that a client's first packet had another connection id.",
    ANY,
    "transport",
)
class _WrongOrigin(_Spoken):
    server = broken_quic.WrongOrigin


@beneath(
    "quic-never-confirmed",
    "It sends no HANDSHAKE_DONE.",
    HANDSHAKE | KEYUPDATE | MIGRATION,
    "timeout",
)
class _NeverConfirmed(_Spoken):
    server = broken_quic.NeverConfirms


@beneath("quic-limits-ignored", "It ignores MAX_DATA and MAX_STREAM_DATA.", TRANSFER, "timeout")
class _LimitsIgnored(_Spoken):
    server = broken_quic.IgnoresLimits


@beneath.lawful("quic-publishing-refused", "It lets nobody publish.", skips=TRANSFER)
class _PublishingRefused(Behaviour):
    def accept_namespace(self, exchange: Exchange) -> None:
        exchange.reply(RequestError(RequestErrorCode.UNAUTHORIZED, "nobody publishes here"))


@beneath(
    "quic-retry-token-refused",
    "It answers the token of its Retry with another Retry, where it sends any.",
    RETRY,
    "transport",
)
class _RetryTokenRefused(Behaviour):
    def takes_token(self) -> bool:
        return False


@beneath(
    "quic-retry-forgotten",
    "Its transport parameters do not tell of the Retry that it sent.",
    RETRY,
    "transport",
)
class _RetryForgotten(_Spoken):
    server = broken_quic.ForgetsItsRetry


@beneath(
    "quic-token-remembered",
    "It refuses every connection once a token came that it did not give, where it asks for any.",
    RETRY,
    "transport",
)
class _TokenRemembered(Behaviour):
    def __init__(self) -> None:
        super().__init__()
        self._refuses = False

    def answers_foreign_token(self) -> bool:
        self._refuses = True
        return True

    def refusal(self) -> int | None:
        return QuicErrorCode.CONNECTION_REFUSED if self._refuses else None


@beneath.lawful("quic-token-dropped", "It drops a first packet with a token that it did not give.")
class _TokenDropped(Behaviour):
    def answers_foreign_token(self) -> bool:
        return False


@beneath("quic-key-update-ignored", "It drops packets in new keys.", KEYUPDATE, "timeout")
class _KeyUpdateIgnored(_Spoken):
    server = broken_quic.IgnoresKeyUpdate


@beneath(
    "quic-key-update-one-way",
    "It reads packets in new keys, and answers in the old ones.",
    KEYUPDATE,
    "timeout",
)
class _KeyUpdateOneWay(_Spoken):
    server = broken_quic.AnswersInOldKeys


@beneath(
    "quic-chacha20-silence",
    "It says nothing to a client that offers only ChaCha20, which it does not have.",
    CHACHA20,
    "transport",
)
class _Chacha20Silence(_Spoken):
    server = broken_quic.SilentWithoutCipher


@beneath(
    "quic-v2-wrong-information",
    "It says that it chose version 1, in version 2.",
    V2,
    "transport",
)
class _V2WrongInformation(_Spoken):
    server = broken_quic.WrongVersionInformation


@beneath("quic-v2-refused", "It ends a connection whose client prefers version 2.", V2, "transport")
class _V2Refused(_Spoken):
    server = broken_quic.RefusesVersion2


@beneath("quic-vn-silence", "It does not answer a version of QUIC that it does not speak.", VN, "transport")
class _VnSilence(Behaviour):
    def negotiate_version(self, packet: bytes) -> bytes | None:  # noqa: ARG002 - dropped
        return None


@beneath(
    "quic-vn-wrong-id",
    "Its Version Negotiation has another connection id than the packet that it answers.",
    VN,
    "transport",
)
class _VnWrongId(Behaviour):
    def negotiate_version(self, packet: bytes) -> bytes | None:
        # First byte, version and length of the id are before it.
        return packet[:6] + bytes([packet[6] ^ 0xFF]) + packet[7:]


@beneath.lawful(
    "quic-tickets-forgotten",
    "It knows none of the session tickets that it gave.",
    skips=RESUMPTION | ZERORTT,
)
class _TicketsForgotten(Behaviour):
    def known_ticket(self, ticket: SessionTicket | None) -> SessionTicket | None:  # noqa: ARG002 - forgotten
        return None


@beneath(
    "quic-tickets-mixed-up",
    "It takes each session ticket for another one.",
    RESUMPTION | ZERORTT,
    "tls",
)
class _TicketsMixedUp(Behaviour):
    def known_ticket(self, ticket: SessionTicket | None) -> SessionTicket | None:
        if ticket is None:
            return None
        return dataclasses.replace(ticket, resumption_secret=bytes(len(ticket.resumption_secret)))


@beneath(
    "quic-early-data-odd",
    "Its session tickets allow an amount of early data, which QUIC does not have.",
    RESUMPTION | ZERORTT,
    "transport",
)
class _EarlyDataOdd(_Spoken):
    server = broken_quic.OddEarlyData


@beneath("quic-early-data-lost", "It acknowledges early data, and forgets it.", ZERORTT, "timeout")
class _EarlyDataLost(_Spoken):
    server = broken_quic.LosesEarlyData


@beneath.lawful(
    "quic-early-data-rejected", "It takes no early data, although its tickets allow it.", skips=ZERORTT
)
class _EarlyDataRejected(_Spoken):
    server = broken_quic.RejectsEarlyData


@beneath("quic-new-port-dropped", "It drops what comes from a client's new port.", MIGRATION, "timeout")
class _NewPortDropped(Behaviour):
    def takes_from_new_port(self) -> bool:
        return False


@beneath(
    "quic-path-not-validated",
    "It sends to a client's new port without PATH_CHALLENGE.",
    MIGRATION,
    "transport",
)
class _PathNotValidated(_Spoken):
    server = broken_quic.TrustsNewPaths


@beneath.lawful(
    "quic-no-spare-ids", "It gives a client no connection ids to change its path with.", skips=MIGRATION
)
class _NoSpareIds(_Spoken):
    server = broken_quic.NoConnectionIds


class _LimitedConnections(Behaviour):
    """A relay that takes some connections, and then no more."""

    code: int

    def __init__(self) -> None:
        self._connections = 0

    def refusal(self) -> int | None:
        self._connections += 1
        return None if self._connections <= CONNECTIONS else self.code


@beneath(
    "quic-connections-run-out",
    f"It ends the connections behind the {CONNECTIONS}th with INTERNAL_ERROR.",
    MULTICONNECT,
    "transport",
)
class _ConnectionsRunOut(_LimitedConnections):
    code = QuicErrorCode.INTERNAL_ERROR


@beneath("quic-never-sends-again", "It sends everything once, whatever is lost.", MULTICONNECT, "transport")
class _NeverSendsAgain(_Spoken):
    server = broken_quic.NeverSendsAgain


@beneath.lawful(
    "quic-rate-limited",
    f"It refuses the connections behind the {CONNECTIONS}th with CONNECTION_REFUSED.",
    skips=MULTICONNECT,
)
class _RateLimited(_LimitedConnections):
    code = QuicErrorCode.CONNECTION_REFUSED
