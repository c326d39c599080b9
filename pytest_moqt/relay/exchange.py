"""One request between the relay and a client, whichever way its draft carries it.

Routing speaks to exchanges only: it replies, says more, updates, finishes or cancels, and what that is
on the wire is decided here and in `session.py`.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Protocol

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.framing import Frame, encode
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.parameters import Parameters
from pytest_moqt.protocol.registries import RequestErrorCode, StreamError
from pytest_moqt.protocol.values import Token

if TYPE_CHECKING:
    from pytest_moqt.relay.session import Session

logger = logging.getLogger("pytest_moqt.relay")


class Owner(Protocol):
    """Whose business a request is."""

    def replied(self, reply: m.Reply) -> None:
        """Take the client's answer to a request of ours."""

    def received(self, message: m.Message) -> None:
        """Take a later message about the request."""

    def cancelled(self) -> None:
        """The client ended it, or the session is over; nothing can be said about it any more."""


class Exchange:
    """One request between the relay and a client, from its first message to its end."""

    def __init__(self, session: Session, request: m.Request, *, ours: bool, stream_id: int | None) -> None:
        self.session = session
        self.request = request
        self.ours = ours
        self.stream_id = stream_id
        "The request's own stream; None: it lives on the control stream, under its id."
        self.owner: Owner | None = None
        self.answered = False
        self.over = False
        self.goaway = False
        self.tokens: tuple[Token, ...] = ()
        "The authorization tokens of a client's request, by value."
        self.updates = 0
        "REQUEST_UPDATEs of ours that await their answer."

    @property
    def request_id(self) -> int | None:
        """The request's id; None while it waits for credit."""
        return getattr(self.request, "request_id", None)

    @property
    def draft(self) -> Draft:
        """The session's draft."""
        return self.session.draft

    def frame(self, message: m.Message, answering: type[m.Message] | None = None) -> Frame:
        """A message about this request as a frame, under the request's id where the draft writes one.

        Raises:
            LocalProtocolError: The draft cannot say that.
        """
        if isinstance(message, m.Reply) and answering is None:
            answering = type(self.request)
        fields = {field.name for field in dataclasses.fields(message)}
        if "request_id" in fields and getattr(message, "request_id", None) is None:
            message = dataclasses.replace(message, request_id=self.request_id)  # type: ignore[call-arg]
        return encode(message, self.draft, sender=Sender.SERVER, answering=answering)

    def write(self, frame: Frame) -> None:
        """Send a frame as it is."""
        self.session.write(self.stream_id, frame.encode(self.draft))

    def send(self, message: m.Message, answering: type[m.Message] | None = None) -> bool:
        """Send a message about this request; False: the request is over, or the draft cannot say that."""
        if self.over or self.session.closed:
            return False
        try:
            frame = self.frame(message, answering)
        except LocalProtocolError as error:
            logger.debug("%s cannot be told: %s", self.session.label, error)
            return False
        logger.debug("%s > %s", self.session.label, message)
        self.write(frame)
        return True

    def reply(self, reply: m.Reply) -> None:
        """Answer the request; an error ends it."""
        if isinstance(reply, m.RequestError):
            if not self.send(reply):
                # Codes differ between drafts; this one they all have.
                self.send(m.RequestError(RequestErrorCode.INTERNAL_ERROR, reply.reason))
            self.answered = True
            self.finish()
        elif self.send(reply):
            self.answered = True
        elif not self.over:
            self.reply(m.RequestError(RequestErrorCode.INTERNAL_ERROR, "the answer does not fit this draft"))

    def finish(self) -> None:
        """Nothing more will be said about the request: forget it, and end our half of its stream."""
        if self.over:
            return
        self.over = True
        if self.stream_id is not None:
            self.session.finish_stream(self.stream_id)
        self.session.forget(self)

    def cancel(self, error: StreamError = StreamError.CANCELLED) -> None:
        """End a request that the client has not ended, in its draft's way (`request-cancellation`)."""
        if self.over:
            return
        if self.stream_id is not None:
            self.over = True
            self.session.abort(self.stream_id, error)
        else:
            self._send_cancellation()
            self.over = True
        self.session.forget(self)

    def _send_cancellation(self) -> None:
        match self.request:
            case m.Subscribe() if self.ours:
                self.send(m.Unsubscribe())
            case m.Publish() if not self.ours:
                self.send(m.Unsubscribe())
            case m.Fetch() if self.ours:
                self.send(m.FetchCancel())
            case m.PublishNamespace() if self.ours:
                self.send(m.PublishNamespaceDone(self.request.track_namespace))
            case m.PublishNamespace():
                code, namespace = RequestErrorCode.UNINTERESTED, self.request.track_namespace
                self.send(m.PublishNamespaceCancel(code, "", namespace))

    def update(self, parameters: Parameters) -> None:
        """Ask the client to change a request of ours, or a subscription of ours to its PUBLISH."""
        if not self.over:
            self.session.send_update(self, parameters)

    def gone(self) -> None:
        """The client ended the request: tell its owner, once."""
        if self.over:
            return
        self.over = True
        self.session.forget(self)
        if self.owner is not None:
            self.owner.cancelled()
