"""The authorization tokens of one client: what it registered under aliases, and what its messages refer to.

Rules (`authorization-token`):

- A token is in the cache as soon as the message that registers it is read, whatever comes of the message.
- It counts 16 bytes and its value; more than MAX_AUTH_TOKEN_CACHE_SIZE ends the session, but in SETUP, where
  such a token is used and not kept.
- Nothing is judged here: who reaches a relay for tests may use it (`Behaviour.authorize`).
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_moqt.protocol.errors import ProtocolViolation, RemoteProtocolError
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.values import Token, TokenAlias

ENTRY_BYTES = 16
"What a registered token counts beside its value (`max-auth-token-cache-size`)."


class TokenCacheOverflow(RemoteProtocolError):
    """A token registered for which MAX_AUTH_TOKEN_CACHE_SIZE leaves no room."""

    code = SessionError.AUTH_TOKEN_CACHE_OVERFLOW


class DuplicateTokenAlias(RemoteProtocolError):
    """A token registered under an alias that another one has."""

    code = SessionError.DUPLICATE_AUTH_TOKEN_ALIAS


class UnknownTokenAlias(RemoteProtocolError):
    """An alias under which no token is registered.

    The receiver "MUST reject the message with UNKNOWN_AUTH_TOKEN_ALIAS", which is a code of sessions only.
    """

    code = SessionError.UNKNOWN_AUTH_TOKEN_ALIAS


class MalformedToken(RemoteProtocolError):
    """Tokens that are well formed and yet cannot stand in one message."""

    code = SessionError.MALFORMED_AUTH_TOKEN


class TokenCache:
    """What one client has registered.

    Args:
        size: MAX_AUTH_TOKEN_CACHE_SIZE in bytes; 0 takes no registration.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        "Bytes of it that are taken."
        self._registered: dict[int, Token] = {}

    def take(self, tokens: Iterable[Token]) -> tuple[Token, ...]:
        """Take the tokens of a message.

        Returns:
            What the message is authorized with: each token by its value.

        Raises:
            RemoteProtocolError: An alias is in use, or is not, or there is no room.
        """
        values = []
        for token in tokens:
            if token.alias_type is TokenAlias.DELETE:
                self.used -= self._cost(self._find(token))
                del self._registered[token.alias or 0]
            else:
                values.append(self._value(token))
        return tuple(values)

    def take_setup(self, tokens: Iterable[Token]) -> tuple[Token, ...]:
        """Take the tokens of the client's SETUP, which cannot overflow the cache.

        Raises:
            RemoteProtocolError: An alias is registered twice, or is one that cannot be there yet.
        """
        values = []
        for token in tokens:
            if token.alias_type in (TokenAlias.DELETE, TokenAlias.USE_ALIAS):
                raise ProtocolViolation(f"an authorization token {token.alias_type.name} in SETUP")
            # "it MUST NOT fail the session with AUTH_TOKEN_CACHE_OVERFLOW. Instead, it MUST treat the
            # option as Alias Type USE_VALUE" (`setup-auth-token`).
            values.append(self._value(token) if self._fits(token) else _by_value(token))
        return tuple(values)

    def _value(self, token: Token) -> Token:
        if token.alias_type is TokenAlias.USE_ALIAS:
            return _by_value(self._find(token))
        if token.alias_type is TokenAlias.REGISTER:
            alias = token.alias or 0
            if alias in self._registered:
                raise DuplicateTokenAlias(f"token alias {alias} is registered already")
            if not self._fits(token):
                left = self.size - self.used
                raise TokenCacheOverflow(f"a token that takes {self._cost(token)} bytes, {left} are left")
            self._registered[alias] = token
            self.used += self._cost(token)
        return _by_value(token)

    def _find(self, token: Token) -> Token:
        found = self._registered.get(token.alias or 0)
        if found is None:
            raise UnknownTokenAlias(f"token alias {token.alias} is not registered")
        return found

    def _fits(self, token: Token) -> bool:
        return token.alias_type is not TokenAlias.REGISTER or self.used + self._cost(token) <= self.size

    @staticmethod
    def _cost(token: Token) -> int:
        return ENTRY_BYTES + len(token.value)


def _by_value(token: Token) -> Token:
    return Token(TokenAlias.USE_VALUE, type=token.type, value=token.value)


def repeats(tokens: tuple[Token, ...]) -> bool:
    """Whether two of the tokens of one message, given by value, are the same."""
    return len({(token.type, token.value) for token in tokens}) < len(tokens)
