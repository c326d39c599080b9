"""Raw QUIC and WebTransport beneath sessions: how they begin and end, and that they are one relay's."""

from __future__ import annotations

import contextlib

import pytest

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    ConnectError,
    Ending,
    Frame,
    Opening,
    QuicOptions,
    RelayUnderTest,
    StreamObject,
    Subscribe,
)

from .reactions import answers_or_ends, attack, closes, refuses
from .refusals import judge_refusal
from .tracks import (
    ALIAS,
    NAMESPACE,
    Publication,
    Subscription,
    announce,
    established,
    first_subscribe,
    payload,
)
from .waits import REACTION_SECONDS

NOT_SERVED = "/no-such-endpoint/pytest-moqt"
UNKNOWN_NAME = "moqt-9999"
"Of no draft."
UNKNOWN_TYPE = 0x3FFE
"A message type that no draft has, nor keeps for grease."
FEW_STREAMS = 8
"That a relay may have open at a time: three of HTTP/3, its control stream, and four groups."
GROUPS = 40
DATAGRAMS = 5
"Sent, of which one has to come: any may be lost."
DATAGRAM_TRACK = b"datagrams"
OTHER = {"quic": "webtransport", "webtransport": "quic"}


@pytest.mark.interop("quic-datagram-negotiated", timeout=3.0, profile="transport")
@pytest.mark.spec("session-establishment", "rfc9221#3")
async def test_quic_datagram_negotiated(relay: RelayUnderTest) -> None:
    """The relay says that it takes DATAGRAM frames."""
    async with relay.connect(quic=QuicOptions()) as session:
        assert session.connection.facts.max_datagram_frame > 0


@pytest.mark.interop("quic-stream-limit-respected", timeout=8.0, profile="transport")
@pytest.mark.spec("session-establishment", "rfc9000#4.6")
async def test_quic_stream_limit_respected(relay: RelayUnderTest) -> None:
    """A relay with more groups than it may open streams for waits until it may."""
    namespace = relay.namespace(NAMESPACE)
    few = QuicOptions(peer_streams=FEW_STREAMS)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber", quic=few) as subscriber:
        await announce(publisher, namespace)
        publication, subscription = await first_subscribe(publisher, subscriber, namespace)

        for group in range(GROUPS):
            publication.group(group, [0])

        # At a limit it "MUST cancel a stream" (`resource-exhaustion`), which may be that of any group.
        with relay.should("the relay should keep groups until it may open streams for them"):
            await subscription.objects(*((group, 0) for group in range(GROUPS)))
            await subscription.streams(GROUPS)
        # Behind the credit for those that have ended.
        await subscriber.settle()
        publication.group(GROUPS, [0])
        # What it opened too much would have ended the connection with STREAM_LIMIT_ERROR.
        await subscription.objects((GROUPS, 0))


@pytest.mark.interop(
    "wt-connect-path", timeout=4.0, profile="transport", level="may", transport="webtransport"
)
@pytest.mark.spec("session-establishment")
async def test_wt_connect_path(relay: RelayUnderTest) -> None:
    """A path that the relay does not serve is refused; where it is served, so is the session."""
    try:
        async with relay.connect("elsewhere", opening=Opening(path=NOT_SERVED)) as session:
            assert await answers_or_ends(relay, session) is None
            relay.info("the relay serves any path")
    except ConnectError as error:
        judge_refusal(relay, error)
        relay.info("the relay serves certain paths only")


@pytest.mark.interop(
    "wt-protocol-header", timeout=4.0, profile="transport", since=15, transport="webtransport"
)
@pytest.mark.spec("session-establishment")
async def test_wt_protocol_header(relay: RelayUnderTest) -> None:
    """Of several protocols offered the relay chooses one that it has; of none, as it likes."""
    async with relay.connect():
        pass  # from here on the draft is known
    own = relay.draft.wt_protocol
    assert own is not None
    async with relay.connect("two", opening=Opening(names=(UNKNOWN_NAME, own))) as session:
        assert session.protocol == own
    try:
        async with relay.connect("none", opening=Opening(names=(), send=False, wait=False)) as session:
            session.close_awaited = True
            relay.info("the relay accepts a session for which no protocol was offered")
    except ConnectError as error:
        judge_refusal(relay, error)


@pytest.mark.interop("wt-close-capsule", timeout=8.0, profile="transport", transport="webtransport")
@pytest.mark.spec("session-termination")
async def test_wt_close_capsule(relay: RelayUnderTest) -> None:
    """A session is ended with its code in CLOSE_WEBTRANSPORT_SESSION, and then its CONNECT stream."""
    async with attack(relay) as attacker:
        await attacker.send_raw(Frame(UNKNOWN_TYPE, b"\x00"))

        close = await closes(relay, attacker, None)

        if close.ending is not Ending.CAPSULE:
            relay.warn("no-capsule", f"the relay ended the session by {close.ending}")
        elif not await attacker.connect_stream_ended(REACTION_SECONDS):
            relay.warn("no-fin", "the relay did not end the CONNECT stream behind its capsule")


@pytest.mark.interop("wt-session-end-by-client", timeout=15.0, profile="transport", transport="webtransport")
@pytest.mark.spec("session-termination")
async def test_wt_session_end_by_client(relay: RelayUnderTest) -> None:
    """A publisher's session that ends by capsule, CONNECT stream or connection takes its tracks along."""
    for ending in (Ending.CAPSULE, Ending.FIN, Ending.CONNECTION):
        async with established(relay) as (publication, subscription):
            await publication.session.leave(ending)

            async with relay.should(
                f"the relay should end subscriptions on {ending}", seconds=REACTION_SECONDS
            ):
                await subscription.session.wait_ended(subscription.request)
            await refuses(
                relay, subscription.session, Subscribe(subscription.request.track_namespace, b"another")
            )


@pytest.mark.interop("wt-reset-code-mapping", timeout=8.0, profile="transport", transport="webtransport")
@pytest.mark.spec("session-termination", "request-cancellation", "data-streams")
async def test_wt_reset_code_mapping(relay: RelayUnderTest) -> None:
    """A stream that the relay resets has a code of WebTransport's range, which stands for one of MoQT."""
    async with established(relay) as (publication, subscription):
        stream = publication.open(0)
        stream.write(StreamObject(0, payload(0, 0)))
        await subscription.objects((0, 0))

        stream.reset(0x1)
        [came] = subscription.arrivals.subgroups(subscription.alias)
        with contextlib.suppress(CaseFailure):
            await subscription.streams(1)

        if not came.was_reset:
            relay.not_offered("no-reset", "the relay resets no stream that its publisher resets")
        if came.reset_code is None:
            raise CaseFailure(
                "the code of a reset stream is none that WebTransport has for applications",
                cause="webtransport",
                expected="RESET_STREAM with a code from 0x52e4a40fa8db on",
                received="a code of HTTP/3",
            )


@pytest.mark.interop("transport-crossing", timeout=8.0, profile="transport")
@pytest.mark.spec("session-establishment", "relays-moq")
async def test_transport_crossing(relay: RelayUnderTest) -> None:
    """A track that is published over raw QUIC comes over WebTransport, and the other way round."""
    async with relay.connect("native") as native:
        try:
            async with relay.connect("foreign", transport=OTHER[relay.transport]) as foreign:
                await cross(relay, native, foreign)
                await cross(relay, foreign, native)
        except ConnectError as error:
            relay.not_offered("one-transport", f"the relay serves {relay.transport} only here: {error}")


async def cross(relay: RelayUnderTest, publisher: ClientSession, subscriber: ClientSession) -> None:
    """Publish a group and datagrams from one session to the other."""
    namespace = relay.namespace(f"{NAMESPACE}/{publisher.role}")
    await announce(publisher, namespace)
    publication, subscription = await first_subscribe(publisher, subscriber, namespace)
    publication.group(0)
    await subscription.objects(*((0, number) for number in range(4)))
    assert subscription.payloads == {(0, number): payload(0, number) for number in range(4)}
    # In a track of their own: up to 15 one "MUST NOT mix different forwarding preferences".
    await datagrams(
        *await first_subscribe(
            *(publisher, subscriber, namespace),
            track=DATAGRAM_TRACK,
            alias=ALIAS + 1,
            arrivals=subscription.arrivals,
        )
    )


async def datagrams(publication: Publication, subscription: Subscription) -> None:
    """Send objects in datagrams, of which some have to come."""
    for number in range(DATAGRAMS):
        publication.datagram(0, number)
    await subscription.arrivals.until(
        lambda: subscription.arrivals.datagrams(subscription.alias), "object in a datagram"
    )
