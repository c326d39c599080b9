"""Relays that are wrong about authorization tokens."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_moqt.protocol.errors import ProtocolViolation
from pytest_moqt.protocol.messages import RequestError, Setup
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import Token, TokenAlias
from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import CONFORMANCE, INFO, Chapter
from pytest_moqt.relay.defects.conformance.overlooking import Overlooks
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session
from pytest_moqt.relay.tokens import TokenCache

of_tokens = Chapter("Conformance: auth", CONFORMANCE)


class _Keeping(Behaviour):
    """A relay that keeps tokens in its own way."""

    cache: type[TokenCache]

    def token_cache(self) -> TokenCache:
        return self.cache(limits.TOKEN_CACHE_BYTES)


class _TakingNone(TokenCache):
    def take(self, tokens: Iterable[Token]) -> tuple[Token, ...]:
        if any(token.alias_type is TokenAlias.USE_VALUE for token in tokens):
            raise ProtocolViolation("a token that was not registered")
        return super().take(tokens)


@of_tokens.against(
    "token-value-refused",
    "It ends the session for a token that is not registered.",
    {"auth-use-value": "closed"},
)
class _TokenValueRefused(_Keeping):
    cache = _TakingNone


@of_tokens.against(
    "token-unwanted-closes",
    "It ends the session of a client whose token it does not want, as it may.",
    {"auth-use-value": INFO, "auth-register-then-use": INFO},
)
class _TokenUnwantedCloses(Behaviour):
    def authorize(self, exchange: Exchange) -> RequestError | None:
        if not exchange.tokens:
            return None
        exchange.session.close(SessionError.UNAUTHORIZED, "another token is wanted")
        return RequestError(RequestErrorCode.UNAUTHORIZED, "another token is wanted")


@of_tokens.against(
    "token-unwanted-in-setup-closes",
    "It ends the session of a client whose SETUP has a token that it does not want, as it may.",
    {"auth-setup-register-overflow": INFO},
)
class _TokenUnwantedInSetupCloses(Behaviour):
    def take_setup(self, session: Session, setup: Setup) -> Setup:
        if SetupOption.AUTHORIZATION_TOKEN in setup.options:
            session.close(SessionError.EXPIRED_AUTH_TOKEN, "another token is wanted")
        return setup


class _Forgetting(TokenCache):
    def take(self, tokens: Iterable[Token]) -> tuple[Token, ...]:
        taken = super().take(tokens)
        self._registered.clear()
        self.used = 0
        return taken


@of_tokens.against(
    "token-forgotten",
    "It forgets tokens with the request that registered them.",
    {"auth-register-then-use": "closed", "auth-register-duplicate-alias": "timeout"},
)
class _TokenForgotten(_Keeping):
    cache = _Forgetting


class _Unbounded(TokenCache):
    def _fits(self, token: Token) -> bool:  # noqa: ARG002 - all
        return True


@of_tokens.against(
    "token-cache-unbounded",
    "It keeps more tokens than it said it would.",
    {"auth-register-overflow": "timeout", "auth-setup-register-overflow": "wrong-message"},
)
class _TokenCacheUnbounded(_Keeping):
    cache = _Unbounded


class _StrictInSetup(TokenCache):
    def take_setup(self, tokens: Iterable[Token]) -> tuple[Token, ...]:
        return self.take(tokens)


@of_tokens.against(
    "token-setup-overflows",
    "It ends a session whose SETUP registers a token for which it has no room.",
    {"auth-setup-register-overflow": "closed"},
)
class _TokenSetupOverflows(_Keeping):
    cache = _StrictInSetup


class _Trusting(TokenCache):
    def _find(self, token: Token) -> Token:
        return self._registered.get(token.alias or 0, Token(TokenAlias.USE_VALUE, type=0))


@of_tokens.against(
    "token-alias-unchecked",
    "It takes a token alias that nobody registered for a token.",
    {"auth-unknown-alias": "wrong-message"},
)
class _TokenAliasUnchecked(_Keeping):
    cache = _Trusting


@of_tokens.against(
    "token-setup-alias-borne",
    "It does not mind a token alias to use or to delete in SETUP.",
    {"auth-setup-alias-use": "timeout"},
    drafts(15),
)
class _TokenSetupAliasBorne(Overlooks):
    phrases = (" in SETUP",)


@of_tokens.against(
    "token-undecodable-borne",
    "It passes over messages with a token that cannot be decoded.",
    {"auth-token-undecodable": "timeout"},
)
class _TokenUndecodableBorne(Overlooks):
    phrases = ("authorization token", "token alias type")
