"""Authorization tokens: what a relay may make of them, and what it has to keep and to refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    Close,
    KeyValues,
    Message,
    Opening,
    Parameter,
    PublishNamespace,
    RelayUnderTest,
    Request,
    RequestError,
    RequestErrorCode,
    RequestOk,
    SessionError,
    SetupOption,
    Subscribe,
    SubscribeOk,
    Token,
    TokenAlias,
)

from .edits import parameter
from .names import sized
from .outcomes import Outcome, ask
from .reactions import attack, closes, harmless, judge_close
from .tracks import ALIAS, NAMESPACE, TRACK
from .variants import named, variant
from .waits import REACTION_SECONDS, within

ENTRY_BYTES = 16
"What a registered token counts beside its value (`max-auth-token-cache-size`)."
SECRET = b"\x00opaque\xff"
UNAUTHORIZED = (
    RequestErrorCode.UNAUTHORIZED,
    RequestErrorCode.MALFORMED_AUTH_TOKEN,
    RequestErrorCode.EXPIRED_AUTH_TOKEN,
)
"How a request is refused for its tokens."
ENDED_FOR_TOKENS = (
    SessionError.UNAUTHORIZED,
    SessionError.MALFORMED_AUTH_TOKEN,
    SessionError.EXPIRED_AUTH_TOKEN,
)
"How a session is ended for the same."
UNREGISTERED = 77
"A token alias that nobody registers."
MOST_BYTES = 60_000
"The longest value of a token that still fits a message, with room for the rest of it."
LONG_TOKEN = 4000
UNDECODABLE = {
    "a token of no bytes": b"",
    "alias type 9": b"\x09\x01\x00secret",
    "REGISTER without a token type": b"\x01\x05",
}
TOKEN = 0x03
"The number of AUTHORIZATION_TOKEN in SETUP and in every other message, in all drafts."


def value(content: bytes = SECRET) -> Token:
    """A token as it is, of a type agreed on elsewhere."""
    return Token(TokenAlias.USE_VALUE, type=0, value=content)


def register(alias: int, content: bytes = SECRET) -> Token:
    """The same, to be known by an alias from now on."""
    return Token(TokenAlias.REGISTER, alias, 0, content)


def use(alias: int) -> Token:
    """A token that was registered."""
    return Token(TokenAlias.USE_ALIAS, alias)


def delete(alias: int) -> Token:
    """The end of an alias."""
    return Token(TokenAlias.DELETE, alias)


USES = {"value": value(), "alias": use(1), "delete": delete(1), "again": register(1), "new-alias": use(1)}
"What is done with a token that has been registered, in this order; the names are those of namespaces too."


def authorized(*tokens: Token) -> KeyValues[Parameter | int, Any]:
    """Parameters that hold tokens."""
    return KeyValues([(Parameter.AUTHORIZATION_TOKEN, token) for token in tokens])


def cache_size(session: ClientSession) -> int:
    """Bytes of tokens that the relay keeps for a session."""
    setup = session.peer_setup
    return 0 if setup is None else int(setup.options.get(SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE, 0))


def needs_cache(relay: RelayUnderTest, session: ClientSession, tokens: int = 1) -> None:
    """Skip the case where the relay does not keep so many tokens."""
    if cache_size(session) < tokens * (ENTRY_BYTES + len(SECRET)):
        relay.not_offered("no-token-cache", f"the relay keeps {cache_size(session)} bytes of tokens")


def announcing(relay: RelayUnderTest, name: str, *tokens: Token) -> PublishNamespace:
    """A request that any relay answers at once, for a namespace of its own."""
    return PublishNamespace(relay.namespace(f"{NAMESPACE}/{name}"), authorized(*tokens))


async def answered(session: ClientSession, request: Any) -> Message:
    """Have a request answered, either way."""
    async with within(REACTION_SECONDS, f"answer to {type(request).__name__}"):
        return await session.request(request)


def ends_for_tokens(outcome: Outcome) -> bool:
    """Whether the relay ended the session because it wants other tokens."""
    return isinstance(outcome, Close) and outcome.layer == "session" and outcome.code in ENDED_FOR_TOKENS


async def answered_or_ended(
    relay: RelayUnderTest, session: ClientSession, request: Request
) -> Message | None:
    """Have a request answered, either way; None: the relay ended the session because it wants other tokens.

    "An endpoint MAY choose to treat a subscription or request specific error as a session error"
    (`session-termination`).

    Raises:
        CaseFailure: Neither; or it ended the session for something else.
    """
    answer, said = await ask(session, request, seconds=REACTION_SECONDS)
    if isinstance(answer, Message):
        return answer
    if ends_for_tokens(answer):
        relay.info(f"the relay {said}")
        return None
    if isinstance(answer, CaseFailure):
        raise answer
    # Says how it ended, where it did.
    session.close_awaited = False
    session.check_open()
    name = type(request).__name__
    raise CaseFailure(
        f"{name} with tokens: the relay {said}",
        cause="timeout",
        expected=f"answer to {name}",
        received="timeout",
    )


def refused_for_tokens(
    relay: RelayUnderTest, session: ClientSession, request: Request, reply: Message
) -> bool:
    """Whether a request was refused; for another reason than its tokens is a warning."""
    if not isinstance(reply, RequestError):
        return False
    said = session.describe(reply, type(request))
    if reply.code in UNAUTHORIZED:
        relay.info(f"the relay refuses with {said}")
    else:
        relay.warn(
            "wrong-code", f"the relay refuses with {said} what has nothing wrong but perhaps its tokens"
        )
    return True


@pytest.mark.interop("auth-use-value", timeout=8.0, profile="auth", level="may")
@pytest.mark.spec("authorization-token")
async def test_auth_use_value(relay: RelayUnderTest) -> None:
    """Tokens that a relay may know nothing of are no error of the session."""
    # From 15 on two tokens of a message must differ in type or value.
    for name, tokens in {"one": (value(),), "two": (value(), value(b"another"))}.items():
        with named(relay, f"{name} by value"):
            async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
                announcement = announcing(relay, name, *tokens)
                reply = await answered_or_ended(relay, publisher, announcement)
                if reply is None or refused_for_tokens(relay, publisher, announcement, reply):
                    continue
                serving = asyncio.create_task(_serve(publisher))
                try:
                    subscribe = Subscribe(announcement.track_namespace, TRACK, authorized(*tokens))
                    reply = await answered_or_ended(relay, subscriber, subscribe)
                finally:
                    serving.cancel()
                if reply is not None:
                    refused_for_tokens(relay, subscriber, subscribe, reply)


async def _serve(publisher: ClientSession) -> None:
    await publisher.reply(await publisher.receive(Subscribe), SubscribeOk(ALIAS))


@pytest.mark.interop("auth-register-then-use", timeout=8.0, profile="auth", optional=True)
@pytest.mark.spec("authorization-token")
async def test_auth_register_then_use(relay: RelayUnderTest) -> None:
    """A token is known by its alias until that is deleted, whatever became of the request it came with."""
    async with relay.connect("client") as client:
        needs_cache(relay, client)
        namespace = relay.namespace(f"{NAMESPACE}/nobody")
        refused, said = await ask(
            client, Subscribe(namespace, TRACK, authorized(register(1))), seconds=REACTION_SECONDS
        )
        if ends_for_tokens(refused):
            relay.info(f"the relay {said}")
            return
        assert not isinstance(refused, Close), f"the relay {said}"
        by_value: Message | None = None
        for name, token in USES.items():
            reply = await answered_or_ended(relay, client, announcing(relay, name, token))
            if token.alias_type is TokenAlias.USE_VALUE:
                by_value = reply
            # A relay that refused the token may end the session when it comes again.
            elif token.alias_type is TokenAlias.USE_ALIAS and (reply or isinstance(by_value, RequestOk)):
                assert kind(reply) == kind(by_value), f"a token by {name} is not what it is by value"
            if reply is None:
                return


def kind(reply: Message | None) -> tuple[type[Message | None], object]:
    """What a request came to, without the words."""
    return type(reply), getattr(reply, "code", None)


@pytest.mark.interop("auth-register-overflow", timeout=5.0, profile="auth")
@pytest.mark.spec("authorization-token", "max-auth-token-cache-size")
async def test_auth_register_overflow(relay: RelayUnderTest) -> None:
    """A token for which the cache has no room ends the session with AUTH_TOKEN_CACHE_OVERFLOW."""
    async with attack(relay) as attacker:
        content = bytes(one_too_many(relay, cache_size(attacker)))
        await attacker.open(announcing(relay, "overflow", register(1, content)))

        await closes(relay, attacker, SessionError.AUTH_TOKEN_CACHE_OVERFLOW)


def one_too_many(relay: RelayUnderTest, size: int) -> int:
    """The length of a token's value for which a cache is a byte too small; the case is skipped if none is."""
    length = max(0, size - ENTRY_BYTES + 1)
    if length > MOST_BYTES:
        relay.not_offered("large-token-cache", f"no one token is too large for {size} bytes")
    return length


@pytest.mark.interop("auth-register-duplicate-alias", timeout=5.0, profile="auth", optional=True)
@pytest.mark.spec("authorization-token")
async def test_auth_register_duplicate_alias(relay: RelayUnderTest) -> None:
    """An alias that is registered twice ends the session with DUPLICATE_AUTH_TOKEN_ALIAS."""
    async with attack(relay) as attacker:
        needs_cache(relay, attacker, 2)
        await answered(attacker, announcing(relay, "first", register(1)))
        await attacker.open(announcing(relay, "second", register(1)))

        await closes(relay, attacker, SessionError.DUPLICATE_AUTH_TOKEN_ALIAS)


def judge_unknown_alias(relay: RelayUnderTest, session: ClientSession, answer: Outcome, said: str) -> None:
    """Judge what became of a request that refers to a token that is not registered.

    "MUST reject the message with UNKNOWN_AUTH_TOKEN_ALIAS" (`authorization-token`), which is a code of
    sessions only: the end of the session and the refusal of the request are both what is asked for.

    Raises:
        CaseFailure: It was not rejected.
    """
    if isinstance(answer, Close):
        judge_close(relay, session, answer, SessionError.UNKNOWN_AUTH_TOKEN_ALIAS)
    elif not isinstance(answer, RequestError | CaseFailure):
        raise CaseFailure(
            f"a token alias that nobody registered: the relay {said}",
            cause="timeout" if answer is None else "wrong-message",
            expected="the request to be refused, or the session to end with UNKNOWN_AUTH_TOKEN_ALIAS",
            received=said,
        )


@pytest.mark.interop("auth-unknown-alias", timeout=5.0, profile="auth")
@pytest.mark.spec("authorization-token")
async def test_auth_unknown_alias(relay: RelayUnderTest) -> None:
    """A request with a token alias that nobody registered is rejected."""
    async with attack(relay) as attacker:
        request = announcing(relay, "unknown", use(UNREGISTERED))
        answer, said = await ask(attacker, request, seconds=REACTION_SECONDS)

        judge_unknown_alias(relay, attacker, answer, said)


# Draft 14 has no such rule.
@pytest.mark.interop("auth-setup-alias-use", timeout=6.0, profile="auth", since=15)
@pytest.mark.spec("authorization-token", "setup-auth-token")
async def test_auth_setup_alias_use(relay: RelayUnderTest) -> None:
    """SETUP with a token alias to use or to delete ends the session with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        for name, token in {"USE_ALIAS": use(1), "DELETE": delete(1)}.items():
            opening = Opening(options=((SetupOption.AUTHORIZATION_TOKEN, token),), wait=False)
            async with variant(relay, name, opening=opening) as attacker:
                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("auth-setup-register-overflow", timeout=6.0, profile="auth")
@pytest.mark.spec("setup-auth-token")
async def test_auth_setup_register_overflow(relay: RelayUnderTest) -> None:
    """A token of SETUP for which the cache has no room is used, and not registered."""
    async with harmless(relay) as witness:
        content = bytes(max(LONG_TOKEN, one_too_many(relay, cache_size(witness))))
        opening = Opening(options=((SetupOption.AUTHORIZATION_TOKEN, register(1, content)),), wait=False)
        async with relay.connect("client", opening=opening) as client:
            # Also where the relay never says that SETUP was good: it may find the token unauthorized.
            answer, said = await ask(client, announcing(relay, "used", use(1)), seconds=REACTION_SECONDS)

            if ends_for_tokens(answer):
                relay.info(f"the relay {said}")
            elif isinstance(answer, Close) and answer.code == SessionError.AUTH_TOKEN_CACHE_OVERFLOW:
                raise CaseFailure(
                    f"a token of {len(content)} bytes in SETUP: the relay {said}",
                    cause="closed",
                    expected="the token to be taken as USE_VALUE",
                    received=said,
                )
            else:
                judge_unknown_alias(relay, client, answer, said)


@pytest.mark.interop("auth-token-undecodable", timeout=6.0, profile="auth")
@pytest.mark.spec("authorization-token")
async def test_auth_token_undecodable(relay: RelayUnderTest) -> None:
    """A token that cannot be decoded ends the session with KEY_VALUE_FORMATTING_ERROR."""
    async with harmless(relay):
        for name, token in UNDECODABLE.items():
            async with variant(relay, name) as attacker:
                edit = parameter(relay.draft, TOKEN, sized(relay.draft, token))
                await attacker.open(PublishNamespace(relay.namespace(NAMESPACE)), edit=edit)

                await closes(relay, attacker, SessionError.KEY_VALUE_FORMATTING_ERROR)
