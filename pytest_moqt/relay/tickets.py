"""Session tickets that the relay has given, each good for one connection."""

from __future__ import annotations

from aioquic.tls import SessionTicket

from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour


class TicketStore:
    """Tickets by what a client shows of them; the oldest are forgotten first.

    A ticket is taken out when it is shown: early data that is sent again finds none, and is refused with it
    (RFC 8446 section 8.1, single-use tickets).
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._tickets: dict[bytes, SessionTicket] = {}

    def add(self, ticket: SessionTicket) -> None:
        """Keep a ticket that was given to a client."""
        self._tickets[ticket.ticket] = ticket
        if len(self._tickets) > limits.TICKETS:
            del self._tickets[next(iter(self._tickets))]

    def take(self, shown: bytes) -> SessionTicket | None:
        """The ticket that a client shows; None when it is not known, or was shown before."""
        return self._behaviour.known_ticket(self._tickets.pop(shown, None))
