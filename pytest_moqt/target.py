"""The relay under test: where it is, what it speaks, and the sessions a case has with it.

Rules:

- One run judges one draft: the first session offers every draft asked for, and what the relay chose
  then is all that later sessions offer.
- Leaving a session is part of the verdict. A session that the relay has ended is never a pass, unless
  the case waited for that end.
- Every session is on record for the report from the moment it is dialled, also when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.failures import CaseFailure, NotConnected, UnexpectedReply, leaves, overtaken
from pytest_moqt.client.opening import USUAL, Opening
from pytest_moqt.client.session import ClientSession, connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import Endpoint, TransportChoice, parse_relay_url
from pytest_moqt.limits import CONNECT_SECONDS, Limit
from pytest_moqt.needs import NOTHING, Needs
from pytest_moqt.observed import Observed, Should
from pytest_moqt.options import EMBEDDED, RunOptions
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.messages import Message
from pytest_moqt.protocol.registries import RequestErrorCode

if TYPE_CHECKING:
    from pytest_moqt.client.connection import Connection, QuicOptions
    from pytest_moqt.client.journal import Journal
    from pytest_moqt.relay.embedded import EmbeddedRelay

CLOSE_SECONDS = 1.0
"For leaving one session; the flush of a close takes one tick."
JOURNAL_LINES = 12
"Of a session, in the report of a failed case: what led to it, not the whole story."
WIRE_LINES = 40
"Of a session, where all was asked for; a report keeps no longer list."
MAX_JOURNALS = 8
"Sessions of a case whose journals are in its report."
LOSSY_SECONDS = 9.0
"For a connection that loses datagrams on purpose, and SETUP: twice the longest of hundreds with two relays."
MAX_RECORDS = 12
"Sessions of a case whose facts are in its report: the first half of them and the last."
MAX_CONNECTIONS = 4
"Whose facts are in a report, of a case that asked something of QUIC."
MAX_NOTES = 5
"Of what a relay did beside the case."
CONNECT_MARGIN = 0.1
"How much earlier than the case a connection gives up, so that the failure says what it met."


class Target:
    """What the cases of one process share: the endpoint, the draft once it is known, the embedded relay."""

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.draft: Draft | None = None
        self.remarks: list[str] = []
        "How the draft came to be negotiated, where that is worth a line."
        self._embedded: EmbeddedRelay | None = None
        self._endpoint: Endpoint | None = None
        self._embedded_retry: EmbeddedRelay | None = None
        self._retry_endpoint: Endpoint | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where the relay is."""
        self.start()
        assert self._endpoint is not None
        return self._endpoint

    def start(self) -> None:
        """Start the embedded relay, if that is the one to judge; repeating it does nothing."""
        if self._endpoint is not None:
            return
        url = self.options.relay
        if url == EMBEDDED:
            # A whole relay, loaded only when it was asked for.
            from pytest_moqt.relay.embedded import EmbeddedRelay

            self._embedded = EmbeddedRelay()
            self._embedded.start()
            over_webtransport = self.options.transport == "webtransport"
            url = self._embedded.url("webtransport" if over_webtransport else "quic")
        self._endpoint = parse_relay_url(url, cast("TransportChoice", self.options.transport))

    @property
    def tls(self) -> TlsOptions:
        """How its certificate is checked."""
        if self._embedded is not None:
            return TlsOptions(verify=self.options.verify, ca_data=self._embedded.certificate)
        return TlsOptions(verify=self.options.verify, ca_file=self.options.ca_file)

    @property
    def retry_endpoint(self) -> Endpoint | None:
        """Where the relay is known to send Retry; None when nobody said so."""
        url = self.options.retry_relay
        if url is None or self._retry_endpoint is not None:
            return self._retry_endpoint
        if url == EMBEDDED:
            from pytest_moqt.relay.embedded import EmbeddedRelay
            from pytest_moqt.relay.features import Features

            self._embedded_retry = EmbeddedRelay(features=Features(retry=True))
            self._embedded_retry.start()
            url = self._embedded_retry.url(self.endpoint.transport)
        self._retry_endpoint = parse_relay_url(url, cast("TransportChoice", self.options.transport))
        return self._retry_endpoint

    def tls_of(self, endpoint: Endpoint) -> TlsOptions:
        """How the certificate at one of the two is checked."""
        if self._embedded_retry is not None and endpoint is self._retry_endpoint:
            return TlsOptions(verify=self.options.verify, ca_data=self._embedded_retry.certificate)
        return self.tls

    @property
    def offer(self) -> tuple[int, ...]:
        """The drafts the next session offers."""
        return self.options.drafts if self.draft is None else (self.draft.number,)

    def facts(self) -> dict[str, Any]:
        """What the head of a report says: `relay`, `transport`, once negotiated `draft`, and `remarks`."""
        facts: dict[str, Any] = {"relay": self.options.relay}
        if self._endpoint is not None:
            facts["transport"] = self._endpoint.transport
            if self._embedded is not None:
                facts["relay"] = f"{EMBEDDED} ({self._endpoint.url})"
        if self.draft is not None:
            facts["draft"] = self.draft.name
        if self.remarks:
            facts["remarks"] = list(self.remarks)
        return facts

    def stop(self) -> None:
        """Stop what was started."""
        for embedded in filter(None, (self._embedded, self._embedded_retry)):
            embedded.stop()
        self._embedded = self._embedded_retry = None


class RelayUnderTest:
    """The relay, as one case sees it."""

    def __init__(self, target: Target, limit: Limit, needs: Needs = NOTHING) -> None:
        """One for each case.

        Args:
            target: What the run shares.
            limit: The clock of the case.
            needs: What must be there for the case to make sense.
        """
        self._target = target
        self._limit = limit
        self._needs = needs
        self.observed = Observed()
        "What the relay did that is no failure and worth saying."
        self._suffix = secrets.token_hex(16).encode()
        self._sessions: dict[str, ClientSession] = {}
        self._journals: dict[str, Journal] = {}
        self._connecting: list[str] = []
        self.records: dict[str, dict[str, str]] = {}
        "By role, in the order dialled: the facts of each session as far as they came to be known."
        self.measured: dict[str, object] = {}
        "What the case measured, for the report; it decides nothing."
        self._connections: dict[str, Connection] = {}
        self.skipped = ""
        "Why the case is skipped, for machines: in small letters and hyphens."
        self.beyond_the_relay = False
        "The case is skipped for a reason that no relay could mend: `--require` asks nothing of it."

    @property
    def draft(self) -> Draft:
        """The draft of this run.

        Raises:
            RuntimeError: No session has negotiated it yet.
        """
        if self._target.draft is None:
            raise RuntimeError("the draft is not known before the first session: use relay.connect() first")
        return self._target.draft

    def supports(self, message: type[Message]) -> bool:
        """Whether the draft of this run has that message at all."""
        return defines(self.draft, message)

    def namespace(self, name: str) -> tuple[bytes, ...]:
        """A namespace for this case alone: the fields of `name`, which `/` separates, and a random one.

        The random field has 128 bits in hexadecimal, so that runs on one public relay never meet; with
        `--fixed-names` it is left out.
        """
        fields = tuple(field.encode() for field in name.split("/"))
        return fields if self._target.options.fixed_names else (*fields, self._suffix)

    @property
    def transport(self) -> str:
        """`quic` or `webtransport`."""
        return self._target.endpoint.transport

    @property
    def has_retry_port(self) -> bool:
        """Whether a port was named that is known to send Retry (`--retry-relay`)."""
        return self._target.options.retry_relay is not None

    @property
    def soak_seconds(self) -> float:
        """How long a case of the profile `soak` is silent (`--soak`)."""
        return self._target.options.soak

    def not_offered(self, reason: str, sentence: str) -> NoReturn:
        """Skip the case: the relay does not offer what it is about, and need not.

        Args:
            reason: For machines, in small letters and hyphens; `skip` in the report.
            sentence: For people.
        """
        self.skipped = reason
        pytest.skip(f"{reason}: {sentence}")

    def not_tried(self, reason: str, sentence: str) -> NoReturn:
        """Skip the case: it cannot be tried so, whatever the relay offers. The arguments are the same."""
        self.beyond_the_relay = True
        self.not_offered(reason, sentence)

    @contextlib.asynccontextmanager
    async def connect(
        self,
        role: str = "client",
        *,
        quic: QuicOptions | None = None,
        retry_port: bool = False,
        opening: Opening = USUAL,
        transport: str = "",
    ) -> AsyncIterator[ClientSession]:
        """A session with the relay, closed on leaving.

        Args:
            role: Names the session in the report: `client`, `publisher`, `subscriber`, `subscriber_1` …
            quic: What is asked of the QUIC connection, which is then in `session.connection`, and its facts
                in the report.
            retry_port: Dial the port that is known to send Retry, where one was named.
            opening: How the session begins, where that is what the case is about.
            transport: `quic` or `webtransport`, where it is not to be that of the run.

        Raises:
            ConnectError: No connection came about.
            NotConnected: None came about that was asked for by `quic`, although the relay is there.
            SetupError: The peer's SETUP did not come, or cannot be accepted.
            CaseFailure: The relay had ended the session when it was left.
        """
        __tracebackhide__ = True
        self.skip_unless_it_exists()
        session = await self._dial(role, quic, retry_port=retry_port, opening=opening, transport=transport)
        try:
            # Again, now that the draft is known.
            self.skip_unless_it_exists()
            yield session
        except BaseException as error:
            # The case has its verdict, which nothing here may hide.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(session.close(), CLOSE_SECONDS)
            behind = await self._behind(error)
            if behind is not None:
                raise behind from error
            raise
        await self._leave(role, session)

    def skip_unless_it_exists(self) -> None:
        """Skip the case when the run can be about nothing that has what it needs."""
        lacking = self._needs.lacking(self._target.offer, self._target.endpoint.transport)
        if lacking is not None:
            self.skipped, sentence = lacking
            self.beyond_the_relay = True
            pytest.skip(sentence)

    def warn(self, reason: str, sentence: str) -> None:
        """Say that the relay did less well than it should, and go on: the outcome is `warn` at best.

        Args:
            reason: For machines, in small letters and hyphens, such as `wrong-code`.
            sentence: For people: what it did, and what it should have done.
        """
        self.observed.warnings.append(f"{reason}: {sentence}")

    def info(self, sentence: str) -> None:
        """Say which of several ways that the draft allows the relay took: the outcome is `info` at best."""
        self.observed.choices.append(sentence)

    def should(self, what: str, *, seconds: float | None = None) -> Should:
        """What fails inside this is a warning: the draft says SHOULD, or leaves it open.

        Use it with `with`, or with `async with` where it waits and `seconds` ends the wait.

        Args:
            what: What the relay should do, for the warning: `the relay should end the stream`.
            seconds: How long to wait for it.
        """
        return Should(self, what, seconds)

    def awaited(self) -> list[str]:
        """What the case's sessions wait for at this moment."""
        waits = [f"a session with the relay as {role}" for role in self._connecting]
        several = len(self._sessions) > 1
        for role, session in self._sessions.items():
            waits += [f"{what} ({role})" if several else what for what in session.waiting]
        return waits

    def explanation(self) -> CaseFailure | None:
        """What a session met that tells why what the case awaits does not come: its end, or a refusal.

        A case that waits for the relay to do something in one session does not look at the others. A
        refusal counts only where no answer is awaited, whose absence would be the news then.
        """
        sessions = list(self._sessions.values())
        for session in sessions:
            if session.left:
                continue
            try:
                session.check_open()
            except CaseFailure as failure:
                return failure
        if not all(session.only_listens for session in sessions):
            return None
        return next((refusal for session in sessions if (refusal := session.refusal())), None)

    async def _behind(self, error: BaseException) -> CaseFailure | None:
        """The end of another session that explains what failed, if that can follow from it.

        A relay that ends a publisher's session refuses what waited for that publisher, or leaves it waiting.
        The end is what tells the relay's author why, and it comes on a connection of its own: in any order
        with a refusal, which one round trip decides; long before a time is up. What made us end a session
        leaves nobody waiting: then it is the wait that tells more.
        """
        failures = [leaf for leaf in leaves(error) if isinstance(leaf, CaseFailure)]
        if len(failures) < len(list(leaves(error))):
            return None
        refused = all(isinstance(each, UnexpectedReply) and each.cause == "rejected" for each in failures)
        late = all(each.cause == each.received == "timeout" for each in failures)
        if not refused and not late:
            return None
        for session in [each for each in self._sessions.values() if not each.left]:
            try:
                if refused:
                    await session.settle()
                else:
                    session.check_open()
            except CaseFailure as failure:
                if refused and session.closed is not None:
                    return failure
                if late and session.closed is not None and session.closed.by_peer:
                    return overtaken(failure, failures[0])
        return None

    def told(self, shown: str, code: object = None) -> CaseFailure | None:
        """The failure that an answer is which an assertion found wrong (see `ClientSession.told`)."""
        told = (session.told(shown, code) for session in self._sessions.values())
        return next((failure for failure in told if failure), None)

    @staticmethod
    def declined(error: BaseException) -> UnexpectedReply | None:
        """The refusal, where all that failed is that the relay refused with NOT_SUPPORTED."""
        refusal: UnexpectedReply | None = None
        for leaf in leaves(error):
            if not isinstance(leaf, UnexpectedReply) or leaf.code != RequestErrorCode.NOT_SUPPORTED:
                return None
            refusal = refusal or leaf
        return refusal

    def half_said(self) -> list[str]:
        """What came and is no whole message, a phrase for each stream of each session."""
        return [
            f"{phrase} ({role})" if len(self._journals) > 1 else phrase
            for role, journal in self._journals.items()
            for phrase in journal.half_said()
        ]

    def notes(self) -> list[str]:
        """What the relay did against its draft beside what the case is about."""
        notes = [note for session in self._sessions.values() for note in session.notes()]
        left_out = len(notes) - MAX_NOTES
        return [*notes[:MAX_NOTES], *([f"… and {left_out} more"] if left_out > 0 else [])]

    def journals(self, most: int = JOURNAL_LINES) -> dict[str, list[str]]:
        """By role, the last lines of each session's journal, also of one that did not set up.

        Args:
            most: Lines of each.
        """
        left_out = len(self._journals) - MAX_JOURNALS
        journals = {role: journal.lines(most) for role, journal in [*self._journals.items()][-MAX_JOURNALS:]}
        if left_out > 0:
            journals = {"left_out": [f"… {left_out} earlier sessions left out"], **journals}
        return journals

    def on_record(self, *, tried: bool = True) -> dict[str, dict[str, str]]:
        """By role, the facts of each session; of very many those of the first and of the last.

        Args:
            tried: Whether those are among them that did not come about.
        """
        known = [
            (role, dict(facts)) for role, facts in self.records.items() if tried or role in self._sessions
        ]
        if len(known) > MAX_RECORDS:
            known = known[: MAX_RECORDS // 2] + known[-MAX_RECORDS // 2 :]
        return dict(known)

    def findings(self) -> dict[str, Any]:
        """What the report says of the case beside its verdict.

        Under `skip`, `warnings`, `observed`, `quic` (by role) and `measured`.
        """
        # The last: a case that has many connections has its trouble with one of those.
        last = [*self._connections.items()][-MAX_CONNECTIONS:]
        return {
            "skip": self.skipped,
            "warnings": list(self.observed.warnings),
            "observed": list(self.observed.choices),
            "quic": {role: connection.facts.report() for role, connection in last},
            "measured": self.measured,
        }

    async def _dial(
        self,
        role: str,
        quic: QuicOptions | None = None,
        *,
        retry_port: bool = False,
        opening: Opening = USUAL,
        transport: str = "",
    ) -> ClientSession:
        name = role
        number = 1
        while name in self.records:
            number += 1
            name = f"{role}_{number}"
        self.records[name] = {}
        left = self._limit.remaining
        timeout = CONNECT_SECONDS if left is None else min(CONNECT_SECONDS, max(0.05, left - CONNECT_MARGIN))
        endpoint = (self._target.retry_endpoint if retry_port else None) or self._target.endpoint
        if transport not in ("", endpoint.transport):
            endpoint = parse_relay_url(endpoint.url, cast("TransportChoice", transport))
        beneath: dict[str, Any] = {}
        if quic is not None and quic.loss is not None and left is not None:
            timeout = min(LOSSY_SECONDS, max(timeout, left - CONNECT_MARGIN))
        if quic is not None:
            beneath = {
                "quic": quic,
                "watch": lambda connection: self._connections.__setitem__(name, connection),
            }
        self._connecting.append(name)
        try:
            session = await connect(
                endpoint,
                offer=self._target.offer,
                tls=self._target.tls_of(endpoint),
                role=name,
                timeout=timeout,
                opening=opening,
                **beneath,
            )
        except (ConnectError, CaseFailure) as error:
            self.records[name] = _known(error)
            if opening.names is not None or opening.path is not None:
                # A case that asks for this may want to be refused; then there is no session to tell of.
                del self.records[name]
            if isinstance(error, CaseFailure) and error.journal is not None:
                self._journals[name] = error.journal
            if isinstance(error, ConnectError) and quic is not None:
                await self._compare(error, quic, endpoint)
            raise
        finally:
            self._connecting.remove(name)
        self._sessions[name] = session
        self._journals[name] = session.journal
        self.records[name] = dict(session.facts())
        session.on_first_request = self._limit.request_sent
        if self._target.draft is None:
            self._target.draft = session.draft
            self._target.remarks = session.remarks
        return session

    async def _compare(self, error: ConnectError, quic: QuicOptions, endpoint: Endpoint) -> None:
        """Find out whether a connection failed because of what was asked of it.

        Raises:
            NotConnected: It did, or the relay was there a moment ago.
            ConnectError: A plain one fails too: then that is the news.
        """
        usual = quic == type(quic)() and endpoint is self._target.endpoint
        if usual and not self._sessions:
            return
        beside = "another connection of this case came about"
        if not usual:
            beside = "a plain connection comes about"
            left = self._limit.remaining
            plain = await connect(
                self._target.endpoint,
                offer=self._target.offer,
                tls=self._target.tls,
                role="plain",
                timeout=CONNECT_SECONDS if left is None else min(CONNECT_SECONDS, max(0.05, left)),
            )
            await plain.close()
        from pytest_moqt.diagnosis import diagnose

        told = diagnose(error)
        raise NotConnected(
            f"{error}; {beside}",
            cause=told["cause"],
            expected=told["expected"],
            received=told["received"],
            code=error.code,
            kind=error.kind,
        ) from error

    async def _leave(self, role: str, session: ClientSession) -> None:
        __tracebackhide__ = True
        # A round trip: what the relay did right after its last answer is part of the verdict.
        await session.settle()
        try:
            await asyncio.wait_for(session.close(), CLOSE_SECONDS)
        except TimeoutError:
            raise CaseFailure(
                f"the session of {role} was not closed within {CLOSE_SECONDS * 1000:.0f} ms",
                cause="timeout",
                expected=f"the session of {role} to close",
                received="timeout",
            ) from None


def _known(error: Exception) -> dict[str, str]:
    """What a session that failed to set up is known by."""
    facts: dict[str, str] = dict(getattr(error, "facts", None) or {})
    connection_id = getattr(error, "connection_id", None)
    if connection_id:
        facts.setdefault("quic_initial_destination_connection_id", connection_id)
    return facts
