"""SETUP: which drafts it may agree on, and what it may hold."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_moqt import (
    ConnectError,
    Frame,
    Opening,
    PublishNamespace,
    RelayUnderTest,
    RequestAbandoned,
    RequestOk,
    SessionError,
    Setup,
    SetupOption,
    Subscribe,
    SubscribeNamespace,
    Topology,
    TrackStatus,
)

from .reactions import attack, closes, harmless, judge_close, may_close
from .refusals import judge_refusal
from .tracks import NAMESPACE, TRACK, announce
from .waits import REACTION_SECONDS, silence, within

GREASE = ((0x9D, b"unknown"), (0x11C, 7))
"Setup options that nobody defines: an odd type with bytes, an even one with a number (`grease`)."
UNKNOWN_NAME = "moqt-9999"
"Of no draft."
OFFERED = bytes.fromhex("01 c0000000ff00000e")
"The version list of draft 14's CLIENT_SETUP: one, its own."
UNKNOWN_VERSION = bytes.fromhex("c0000000ff0000fe")
NOT_SERVED = b"/no-such-endpoint/pytest-moqt"
NOT_SERVED_AUTHORITY = b"wrong.invalid:443"
BAD_PATHS = {
    "no-leading-slash": b"moq",
    "space": b"/a path",
    "no-ascii": b"/\xff",
    "bad-escape": b"/%zz",
}
"What is no `path-abempty [ ? query ]` (RFC 3986 section 3.3)."
BAD_AUTHORITIES = {
    "bad-port": b"localhost:port",
    "open-bracket": b"[::1",
    "space": b"local host",
}
"What is no `authority` (RFC 3986 section 3.2)."
BYTE_SECONDS = 0.001
"Between two bytes that are sent alone, so that a relay reads most of them alone."


def with_option(kind: SetupOption, value: bytes) -> Opening:
    """A SETUP with an option; that of the relay may never come."""
    return Opening(options=((kind, value),), wait=False)


@pytest.mark.interop("setup-alpn-selected", timeout=3.0, profile="session")
@pytest.mark.spec("session-establishment", "message-setup")
async def test_setup_alpn_selected(relay: RelayUnderTest) -> None:
    """Of one draft that is offered alone, the relay names that one and speaks it."""
    async with relay.connect():
        pass  # the first session offers every draft of the run; from here on it is the one chosen

    async with relay.connect("alone") as session:
        await announce(session, relay.namespace(NAMESPACE))

        if session.transport == "quic":
            assert session.alpn == relay.draft.alpn
        else:
            assert session.protocol == relay.draft.wt_protocol


@pytest.mark.interop("setup-version-list", timeout=3.0, profile="session", until=14)
@pytest.mark.spec("version-negotiation", "setup-versions")
async def test_setup_version_list(relay: RelayUnderTest) -> None:
    """Of several versions in CLIENT_SETUP the relay selects one that it has, wherever it stands."""

    def unknown_first(frame: Frame) -> Frame:
        return frame.replace(body=frame.body.replace(OFFERED, b"\x02" + UNKNOWN_VERSION + OFFERED[1:], 1))

    async with relay.connect(opening=Opening(edit=unknown_first)) as session:
        await announce(session, relay.namespace(NAMESPACE))

        assert session.peer_setup is not None
        assert session.peer_setup.versions == (relay.draft.version_code,)


@pytest.mark.interop("setup-version-unsupported", timeout=6.0, profile="session")
@pytest.mark.spec("session-establishment", "version-negotiation", "setup-versions")
async def test_setup_version_unsupported(relay: RelayUnderTest) -> None:
    """No session comes about in a draft that the relay does not have."""
    async with relay.connect():
        pass  # from here on the draft is known
    if relay.draft.version_code is not None:
        async with attack(relay, opening=Opening(edit=unknown_version, wait=False)) as attacker:
            await closes(relay, attacker, SessionError.VERSION_NEGOTIATION_FAILED)
        return
    try:
        async with relay.connect(
            "stranger", opening=Opening(names=(UNKNOWN_NAME,), send=False, wait=False)
        ) as stranger:
            # Nothing says that a WebTransport server must refuse whom it has no protocol in common with; over
            # raw QUIC it must (RFC 7301 section 3.2).
            assert stranger.protocol is None
            assert stranger.alpn != UNKNOWN_NAME
            relay.info("the relay accepts a WebTransport session without choosing a draft")
            stranger.close_awaited = True
    except ConnectError as error:
        judge_refusal(relay, error)


def unknown_version(frame: Frame) -> Frame:
    """Draft 14's CLIENT_SETUP with a version that nobody has, in place of its own."""
    return frame.replace(body=frame.body.replace(OFFERED[1:], UNKNOWN_VERSION, 1))


@pytest.mark.interop("setup-unknown-option-ignored", timeout=3.0, profile="session")
@pytest.mark.spec("setup-options", "setup-params", "message-setup", "grease")
async def test_setup_unknown_option_ignored(relay: RelayUnderTest) -> None:
    """Setup options that the relay does not know are ignored."""
    async with relay.connect("publisher", opening=Opening(options=GREASE)) as publisher:
        await announce(publisher, relay.namespace(NAMESPACE))


@pytest.mark.interop("setup-unknown-option-repeated", timeout=3.0, profile="session")
@pytest.mark.spec("setup-options", "setup-params", "message-setup")
async def test_setup_unknown_option_repeated(relay: RelayUnderTest) -> None:
    """A setup option that the relay does not know may come twice."""
    async with relay.connect("publisher", opening=Opening(options=GREASE + GREASE)) as publisher:
        await announce(publisher, relay.namespace(NAMESPACE))


@pytest.mark.interop("setup-server-options-legal", timeout=3.0, profile="session")
@pytest.mark.spec("setup-options", "setup-params", "path", "authority")
async def test_setup_server_options_legal(relay: RelayUnderTest) -> None:
    """The relay's SETUP is well formed, has no PATH and no AUTHORITY, and no known option twice."""
    async with relay.connect() as session:
        assert session.peer_setup is not None
        options = session.peer_setup.options

        assert SetupOption.PATH not in options
        assert SetupOption.AUTHORITY not in options or relay.draft.authority_is_implementation
        known = [kind for kind, _ in options.pairs if kind in set(SetupOption)]
        known = [kind for kind in known if kind != SetupOption.AUTHORIZATION_TOKEN]
        assert sorted(set(known)) == sorted(known)


@pytest.mark.interop("setup-path-unsupported", timeout=4.0, profile="session", level="may", transport="quic")
@pytest.mark.spec("path")
async def test_setup_path_unsupported(relay: RelayUnderTest) -> None:
    """A path that the relay does not serve ends the session with INVALID_PATH; it may serve any."""
    async with relay.connect(opening=with_option(SetupOption.PATH, NOT_SERVED)) as session:
        await may_close(
            relay,
            session,
            SessionError.INVALID_PATH,
            ends="the relay serves certain paths only",
            goes_on="the relay serves any path",
        )


@pytest.mark.interop(
    "setup-authority-unsupported", timeout=4.0, profile="session", level="may", transport="quic"
)
@pytest.mark.spec("authority")
async def test_setup_authority_unsupported(relay: RelayUnderTest) -> None:
    """An authority that is not the relay's ends the session with INVALID_AUTHORITY; it may be any's."""
    async with relay.connect(opening=with_option(SetupOption.AUTHORITY, NOT_SERVED_AUTHORITY)) as session:
        await may_close(
            relay,
            session,
            SessionError.INVALID_AUTHORITY,
            ends="the relay serves its own authority only",
            goes_on="the relay serves any authority",
        )


@pytest.mark.interop("setup-path-malformed", timeout=10.0, profile="session", transport="quic")
@pytest.mark.spec("path")
async def test_setup_path_malformed(relay: RelayUnderTest) -> None:
    """A path that no URI can have ends the session with MALFORMED_PATH."""
    await _each_closes(relay, SetupOption.PATH, BAD_PATHS, SessionError.MALFORMED_PATH)


@pytest.mark.interop("setup-authority-malformed", timeout=10.0, profile="session", transport="quic")
@pytest.mark.spec("authority")
async def test_setup_authority_malformed(relay: RelayUnderTest) -> None:
    """An authority that no URI can have ends the session with MALFORMED_AUTHORITY."""
    await _each_closes(relay, SetupOption.AUTHORITY, BAD_AUTHORITIES, SessionError.MALFORMED_AUTHORITY)


async def _each_closes(
    relay: RelayUnderTest, kind: SetupOption, values: Mapping[str, bytes], error: SessionError
) -> None:
    """Each of these values of a setup option ends its session with that error."""
    async with harmless(relay):
        for name, value in values.items():
            async with relay.connect(name, opening=with_option(kind, value)) as attacker:
                await closes(relay, attacker, error)


@pytest.mark.interop("setup-path-on-webtransport", timeout=5.0, profile="session", transport="webtransport")
@pytest.mark.spec("path")
async def test_setup_path_on_webtransport(relay: RelayUnderTest) -> None:
    """PATH over WebTransport, whose URL has the path, ends the session with INVALID_PATH."""
    async with attack(relay, opening=with_option(SetupOption.PATH, b"/")) as attacker:
        await closes(relay, attacker, SessionError.INVALID_PATH)


@pytest.mark.interop(
    "setup-authority-on-webtransport", timeout=5.0, profile="session", transport="webtransport"
)
@pytest.mark.spec("authority")
async def test_setup_authority_on_webtransport(relay: RelayUnderTest) -> None:
    """AUTHORITY over WebTransport, whose URL has the authority, ends the session with INVALID_AUTHORITY."""
    async with attack(relay, opening=with_option(SetupOption.AUTHORITY, b"localhost")) as attacker:
        if not relay.draft.authority_is_implementation:
            await closes(relay, attacker, SessionError.INVALID_AUTHORITY)
            return
        await may_close(
            relay,
            attacker,
            SessionError.INVALID_AUTHORITY,
            ends="parameter 0x05 is AUTHORITY to the relay",
            goes_on="parameter 0x05 is MOQT_IMPLEMENTATION to the relay",
        )


@pytest.mark.interop("setup-byte-by-byte", timeout=6.0, profile="session")
@pytest.mark.spec("message-setup", "session-init")
async def test_setup_byte_by_byte(relay: RelayUnderTest) -> None:
    """A SETUP and a request that come in pieces are answered like whole ones."""
    # Half a second for 150 bytes: a pause of a millisecond after each is the act itself.
    async with relay.connect(opening=Opening(send=False, wait=False)) as session:
        async with session.byte_by_byte(BYTE_SECONDS):
            session.begin()
        async with within(REACTION_SECONDS, "SETUP"):
            await session.wait_open()

        async with session.byte_by_byte(BYTE_SECONDS):
            request = await session.open(PublishNamespace(relay.namespace(NAMESPACE)))
        await session.expect(request, RequestOk)


@pytest.mark.interop("setup-pipelined-requests", timeout=5.0, profile="session", level="should", since=17)
@pytest.mark.spec("session-init", "message-setup")
async def test_setup_pipelined_requests(relay: RelayUnderTest) -> None:
    """Requests that follow SETUP at once, before the relay's, are each answered when it has come."""
    async with relay.connect(opening=Opening(wait=False)) as session:
        namespace = relay.namespace(NAMESPACE)
        requests = [
            await session.open(PublishNamespace(namespace)),
            await session.open(SubscribeNamespace(namespace)),
            # Of a namespace that nobody has: for its own a client would be asked itself.
            await session.open(TrackStatus(relay.namespace(f"{NAMESPACE}/nowhere"), TRACK)),
        ]

        for request in requests:
            async with within(REACTION_SECONDS, "answer to a request behind SETUP"):
                try:
                    await session.answer(request)
                except RequestAbandoned as refusal:
                    # "If an implementation does not want to buffer ... it MAY reset such streams".
                    relay.warn("not-kept", f"the relay keeps no requests until SETUP: {refusal}")


@pytest.mark.interop("setup-second-setup", timeout=8.0, profile="session", level="should")
@pytest.mark.spec("message-setup")
async def test_setup_second_setup(relay: RelayUnderTest) -> None:
    """A second SETUP on the control stream, which only its first message can be, ends the session."""
    async with attack(relay) as attacker:
        setup = attacker.frame(own_setup(relay))

        attacker.control_stream.send(setup.encode(relay.draft))

        async with relay.should("the relay should close a session that sends SETUP twice"):
            await closes(relay, attacker, None)


@pytest.mark.interop("setup-second-control-stream", timeout=8.0, profile="session", level="should")
@pytest.mark.spec("session-init")
async def test_setup_second_control_stream(relay: RelayUnderTest) -> None:
    """A second stream that begins with SETUP ends the session."""
    async with attack(relay) as attacker:
        setup = attacker.frame(own_setup(relay))
        one_way = relay.draft.topology is Topology.REQUEST_STREAMS

        attacker.open_stream(unidirectional=one_way).send(setup.encode(relay.draft))

        if relay.draft.other_bidi_streams_close:
            async with relay.should("the relay should close a session with two control streams"):
                await closes(relay, attacker, None)
        else:
            await may_close(
                relay,
                attacker,
                SessionError.PROTOCOL_VIOLATION,
                ends="the relay bears one bidirectional stream only",
                goes_on="the relay bears a second bidirectional stream",
            )


def own_setup(relay: RelayUnderTest) -> Setup:
    """A SETUP without options, as good as any."""
    version = relay.draft.version_code
    return Setup(versions=() if version is None else (version,))


@pytest.mark.interop("setup-first-message-not-setup", timeout=5.0, profile="session", until=16)
@pytest.mark.spec("session-init", "message-setup")
async def test_setup_first_message_not_setup(relay: RelayUnderTest) -> None:
    """A control stream that begins with SUBSCRIBE ends the session."""
    async with attack(relay, opening=Opening(send=False, wait=False)) as attacker:
        subscribe = attacker.frame(Subscribe(relay.namespace(NAMESPACE), TRACK))

        attacker.open_stream(unidirectional=False).send(subscribe.encode(relay.draft))

        if relay.draft.other_bidi_streams_close:
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
            return
        # 14 and 15 say that SETUP comes first, and not what follows where it does not.
        async with relay.should("the relay should close a session that does not begin with SETUP"):
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("setup-missing", timeout=6.0, profile="session", level="may")
@pytest.mark.spec("session-init", "session-termination")
async def test_setup_missing(relay: RelayUnderTest) -> None:
    """Clients that never say SETUP, or half of it, keep no other from its session."""
    # A relay may wait for them as long as it likes, so that its patience is not waited for.
    nothing, half = Opening(send=False, wait=False), Opening(edit=cut_short, wait=False)
    async with (
        relay.connect("silent", opening=nothing) as silent,
        relay.connect("stalled", opening=half) as stalled,
    ):
        for session in (silent, stalled):
            # At any time: also behind the look at it below.
            session.bear_end()
            session.close_awaited = True
        async with harmless(relay):
            await silence()

            for session in (silent, stalled):
                if session.closed is not None:
                    judge_close(relay, session, session.closed, SessionError.CONTROL_MESSAGE_TIMEOUT)
                    relay.info(f"the relay closed the {session.role} session at once")


def cut_short(frame: Frame) -> Frame:
    """A frame of which a byte never comes."""
    return frame.replace(body=frame.body[:-1], length=len(frame.body))
