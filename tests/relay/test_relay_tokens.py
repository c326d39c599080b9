"""Authorization tokens: what a client may register, refer to and repeat, and what its session ends with."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from relay_clients import Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.parameters import Parameter, SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.values import KeyValues, Token, TokenAlias
from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.tokens import ENTRY_BYTES

NAMESPACE = (b"moq-test", b"interop")
ROOM = limits.TOKEN_CACHE_BYTES - ENTRY_BYTES
"The longest value that an empty cache takes."
REPEATS_REFUSED = [n for n in sorted(SUPPORTED) if DRAFTS[n].repeated_tokens_refused]


def register(alias: int, value: bytes = b"secret") -> Token:
    return Token(TokenAlias.REGISTER, alias, 0, value)


def use(alias: int) -> Token:
    return Token(TokenAlias.USE_ALIAS, alias)


def delete(alias: int) -> Token:
    return Token(TokenAlias.DELETE, alias)


def plain(value: bytes = b"secret") -> Token:
    return Token(TokenAlias.USE_VALUE, type=0, value=value)


def carrying(*tokens: Token) -> KeyValues[Parameter, Token]:
    return KeyValues([(Parameter.AUTHORIZATION_TOKEN, token) for token in tokens])


def ask(client: Client, *tokens: Token) -> m.Reply | None:
    """Publish a namespace of its own with these tokens."""
    answer: m.Reply | None = client.ask(
        m.PublishNamespace((*NAMESPACE, b"%d" % client._next_id), carrying(*tokens))
    )
    return answer


def closed_with(client: Client) -> SessionError | None:
    return client.closed[0] if client.closed else None


def test_setup_says_how_much_may_be_registered(relay: FakeRelay, number: int) -> None:
    """Without MAX_AUTH_TOKEN_CACHE_SIZE aliases are prohibited."""
    client = relay.client(number)

    setup = client.messages[0][1]

    assert isinstance(setup, m.Setup)
    assert setup.options[SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE] == limits.TOKEN_CACHE_BYTES


@pytest.mark.parametrize(
    "messages",
    [
        [[plain()]],
        [[plain(b"one"), plain(b"two")]],
        [[register(1)], [use(1)], [delete(1)], [register(1)]],
        [[register(1), register(2, b"other")], [use(1), use(2)]],
        [[register(7, bytes(ROOM))], [delete(7), register(8, bytes(ROOM))]],
        [[register(1), delete(1)], [register(1)]],
    ],
    ids=[
        "value",
        "two-values",
        "register-use-delete-register",
        "two-aliases",
        "room-again",
        "in-one-message",
    ],
)
def test_what_tokens_may_do(relay: FakeRelay, number: int, messages: list[list[Token]]) -> None:
    """Aliases stand for values until they are deleted, and then are free again."""
    client = relay.client(number)

    answers = [ask(client, *tokens) for tokens in messages]

    assert [type(answer) for answer in answers] == [m.RequestOk] * len(messages)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([[register(1, bytes(ROOM + 1))]], SessionError.AUTH_TOKEN_CACHE_OVERFLOW),
        (
            [[register(1, bytes(ROOM // 2))], [register(2, bytes(ROOM // 2))]],
            SessionError.AUTH_TOKEN_CACHE_OVERFLOW,
        ),
        ([[register(1)], [register(1, b"another")]], SessionError.DUPLICATE_AUTH_TOKEN_ALIAS),
        ([[register(1), register(1, b"another")]], SessionError.DUPLICATE_AUTH_TOKEN_ALIAS),
        ([[use(77)]], SessionError.UNKNOWN_AUTH_TOKEN_ALIAS),
        ([[delete(77)]], SessionError.UNKNOWN_AUTH_TOKEN_ALIAS),
        ([[register(1)], [delete(1)], [use(1)]], SessionError.UNKNOWN_AUTH_TOKEN_ALIAS),
    ],
    ids=["too-long", "too-many", "twice", "twice-in-one", "unknown", "unknown-deleted", "deleted"],
)
def test_what_tokens_may_not_do(
    relay: FakeRelay, number: int, messages: list[list[Token]], code: SessionError
) -> None:
    """Each has a code of its own, and nothing comes of the request that carried it."""
    client = relay.client(number)

    answers = [ask(client, *tokens) for tokens in messages]

    assert closed_with(client) == code
    assert answers[-1] is None
    assert relay.router.announcements == []


def test_a_token_is_registered_even_if_its_request_is_refused(relay: FakeRelay, number: int) -> None:
    """'MUST register the Token Alias, in the token cache, even if the message fails for other reasons'."""
    client = relay.client(number)

    refused = client.ask(m.Subscribe(NAMESPACE, b"track", carrying(register(1))))
    answer = ask(client, use(1))

    assert isinstance(refused, m.RequestError)
    assert isinstance(answer, m.RequestOk)


def test_each_session_has_its_own_aliases(relay: FakeRelay, number: int) -> None:
    """An alias is 'a Session-specific integer identifier'."""
    one, other = relay.client(number), relay.client(number)
    ask(one, register(1))

    ask(other, use(1))

    assert closed_with(one) is None
    assert closed_with(other) == SessionError.UNKNOWN_AUTH_TOKEN_ALIAS


@pytest.mark.parametrize("number", REPEATS_REFUSED)
@pytest.mark.parametrize(
    "tokens",
    [[plain(), plain()], [register(1), plain()], [register(1), use(1)]],
    ids=["plain", "new", "alias"],
)
def test_one_token_twice_in_a_message_is_malformed(
    relay: FakeRelay, number: int, tokens: list[Token]
) -> None:
    """It may repeat 'as long as the combination of Token Type and Token Value are unique'."""
    client = relay.client(number)

    answer = ask(client, *tokens)

    assert isinstance(answer, m.RequestError)
    assert answer.code == RequestErrorCode.MALFORMED_AUTH_TOKEN
    assert client.closed is None


def test_an_update_may_carry_tokens(relay: FakeRelay, number: int) -> None:
    """What is registered in REQUEST_UPDATE is registered in the session."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscription = subscriber.request(m.Subscribe(NAMESPACE, b"track"))
    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(1))

    subscriber.update(subscription, {Parameter.AUTHORIZATION_TOKEN: register(1)})
    answer = ask(subscriber, use(1))

    assert isinstance(answer, m.RequestOk)
    assert subscriber.closed is None


# ---- in SETUP --------------------------------------------------------------------------------------


def introduced(relay: FakeRelay, number: int, *tokens: Token) -> Client:
    client = relay.stranger(number)
    options = [(SetupOption.AUTHORIZATION_TOKEN, token) for token in tokens]
    if client.draft.request_id_credit:
        options.append((SetupOption.MAX_REQUEST_ID, 100))  # type: ignore[arg-type]  # another option
    client.setup(KeyValues(options))
    return client


@pytest.mark.parametrize("tokens", [[use(1)], [delete(1)], [register(1), use(1)]], ids=str)
def test_setup_names_no_alias(relay: FakeRelay, number: int, tokens: list[Token]) -> None:
    """'If a server receives Alias Type DELETE or USE_ALIAS in a SETUP message' it closes the session."""
    client = introduced(relay, number, *tokens)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_a_token_of_setup_can_be_referred_to(relay: FakeRelay, number: int) -> None:
    """It is registered as any other."""
    client = introduced(relay, number, register(1))

    assert isinstance(ask(client, use(1)), m.RequestOk)


def test_a_token_of_setup_that_is_too_long_is_used_and_not_kept(relay: FakeRelay, number: int) -> None:
    """'it MUST NOT fail the session with AUTH_TOKEN_CACHE_OVERFLOW'."""
    client = introduced(relay, number, register(1, bytes(ROOM + 1)))
    established = client.closed is None

    ask(client, use(1))

    assert established
    assert closed_with(client) == SessionError.UNKNOWN_AUTH_TOKEN_ALIAS


# ---- bytes that are no token -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"", b"\x09", b"\x01\x01", b"\x02", b"\x00\x01\x01"], ids=bytes.hex)
def test_what_is_no_token_is_a_formatting_error(relay: FakeRelay, number: int, value: bytes) -> None:
    """'If the Token structure cannot be decoded, the receiver MUST close the Session'."""
    client = relay.client(number)
    frame = client.frame(m.PublishNamespace(NAMESPACE, carrying(plain(b"0123456789")), request_id=0))
    whole = b"\x0c\x03\x00" + b"0123456789"
    assert frame.body.endswith(whole)
    body = frame.body.removesuffix(whole) + bytes([len(value)]) + value
    own = client.new_stream(unidirectional=False) if client.own_streams else None

    client.send_frame(Frame(frame.type, body), own)

    assert closed_with(client) == SessionError.KEY_VALUE_FORMATTING_ERROR


# ---- a relay that judges them ----------------------------------------------------------------------


class _Guarded(Behaviour):
    """A relay that wants a token of each request, or of SETUP."""

    def authorize(self, exchange: Exchange) -> m.RequestError | None:
        shown: Iterable[Token] = (*exchange.session.authorized_with, *exchange.tokens)
        if any(token.value == b"secret" for token in shown):
            return None
        return m.RequestError(RequestErrorCode.UNAUTHORIZED, "a token is wanted")


def test_a_relay_may_want_tokens(number: int) -> None:
    """Requests without one are refused; a value, its alias or a token of SETUP will do."""
    relay = FakeRelay(_Guarded())
    client, trusted = relay.client(number), introduced(relay, number, plain())

    without = ask(client)
    answers = [ask(client, register(1)), ask(client, use(1)), ask(client, plain()), ask(trusted)]

    assert isinstance(without, m.RequestError)
    assert without.code == RequestErrorCode.UNAUTHORIZED
    assert [type(answer) for answer in answers] == [m.RequestOk] * 4
