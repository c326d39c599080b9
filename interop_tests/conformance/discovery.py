"""What a subscriber hears of the namespaces under a prefix, in its draft's way.

In drafts 14 and 15 the relay answers with requests of its own, PUBLISH_NAMESPACE; later with NAMESPACE on the
stream of SUBSCRIBE_NAMESPACE. 16 and 17 ask for both, each in one section, so either will do there.

Whatever is awaited, every PUBLISH_NAMESPACE is answered: a relay "MAY send the PUBLISH_NAMESPACE to any other
subscriber" (`publishing-namespaces`), of other clients' namespaces too, and may say nothing else until it has
the answer.
"""

from __future__ import annotations

from collections import Counter, deque

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    Message,
    Namespace,
    NamespaceDone,
    PublishNamespace,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestOk,
    SubscribeNamespace,
    TrackNamespace,
)

from .waits import REACTION_SECONDS, within

NAMESPACES_ONLY = 1
"Subscribe Options of 16 and 17: namespaces, not tracks."


class Discovery:
    """A SUBSCRIBE_NAMESPACE that the relay has accepted."""

    def __init__(self, relay: RelayUnderTest, session: ClientSession, request: SubscribeNamespace) -> None:
        self.session = session
        self.request = request
        self.prefix = request.track_namespace_prefix
        "What namespaces are told relative to; an update may change it."
        self._relay = relay
        self._has_notices = relay.supports(Namespace)
        self._has_requests = not self._has_notices or relay.draft.namespaces_by_request
        self._standing: list[PublishNamespace] = []
        self._begun = News()
        self._ended = News()

    async def told(self, *suffix: bytes) -> None:
        """Wait to be told of a namespace, before any other under the prefix.

        Raises:
            CaseFailure: Nothing comes, or it is another one.
        """
        await self._expect(self._begun, "", suffix, "published")

    async def withdrawn(self, *suffix: bytes) -> None:
        """Wait to be told that a namespace is no more, before any other under the prefix.

        Raises:
            CaseFailure: Nothing comes, or it is about another one.
        """
        await self._expect(self._ended, "the end of ", suffix, "withdrawn")

    async def told_no_more(self, why: str) -> None:
        """Make sure that of what came until now nothing is left untaken.

        Only on the request's own stream: "A publisher MAY send the PUBLISH_NAMESPACE to any other subscriber"
        (`publishing-namespaces`).

        Raises:
            CaseFailure: The relay told of a namespace, or of the end of one.
        """
        if self._has_notices:
            await self.session.settle()
            await self._look()
            for news, name in ((self._begun, "NAMESPACE"), (self._ended, "NAMESPACE_DONE")):
                for namespace in news.by(Namespace):
                    raise CaseFailure(
                        f"{name} of {namespace!r} came to {self.session.role}, {why}",
                        cause="wrong-message",
                        expected=f"no {name}",
                        received=f"{name} of {namespace!r}",
                    )

    async def _expect(self, news: News, what: str, suffix: TrackNamespace, done: str) -> None:
        notice, wanted = f"notice of {what}{self._say(suffix)}", self.prefix + suffix
        async with within(REACTION_SECONDS, notice):
            await self._look()
            while not news:
                await self.session.wait_for_more(notice)
                await self._look()
        told = news.take()
        if told != wanted:
            raise CaseFailure(
                f"the relay told {self.session.role} of {what}{told!r}, where {wanted!r} was {done}",
                cause="wrong-message",
                expected=f"{what}the namespace {wanted!r}",
                received=f"{what}the namespace {told!r}",
            )

    async def _look(self) -> None:
        """Take what has come, and answer what is asked."""
        while (asked := self.session.take(PublishNamespace)) is not None:
            await self.session.reply(asked, RequestOk())
            if asked.track_namespace[: len(self.prefix)] == self.prefix:
                self._standing.append(asked)
                if self._has_requests:
                    self._begun.add(asked.track_namespace, PublishNamespace)
        for asked in [each for each in self._standing if self.session.is_withdrawn(each)]:
            self._standing.remove(asked)
            if self._has_requests:
                self._ended.add(asked.track_namespace, PublishNamespace)
        if self._has_notices:
            while (begun := self.session.take_later(self.request, Namespace)) is not None:
                self._begun.add(self.prefix + begun.track_namespace_suffix, Namespace)
            while (ended := self.session.take_later(self.request, NamespaceDone)) is not None:
                self._ended.add(self.prefix + ended.track_namespace_suffix, Namespace)

    @staticmethod
    def _say(suffix: TrackNamespace) -> str:
        return f"the namespace {suffix!r} under the prefix" if suffix else "the namespace of the prefix"


class News:
    """Namespaces of which the relay said one thing, in the order in which it did so first.

    A relay that goes both ways says everything twice: what came by the other way is no news.
    """

    def __init__(self) -> None:
        self._untaken: deque[tuple[TrackNamespace, type[Message]]] = deque()
        self._times: Counter[tuple[TrackNamespace, type[Message]]] = Counter()
        self._most: Counter[TrackNamespace] = Counter()

    def __bool__(self) -> bool:
        return bool(self._untaken)

    def add(self, namespace: TrackNamespace, way: type[Message]) -> None:
        """Take note of what was said by a way."""
        self._times[namespace, way] += 1
        if self._times[namespace, way] > self._most[namespace]:
            self._most[namespace] += 1
            self._untaken.append((namespace, way))

    def take(self) -> TrackNamespace:
        """The next."""
        return self._untaken.popleft()[0]

    def by(self, way: type[Message]) -> list[TrackNamespace]:
        """Those that nobody has taken, of what was said first by a way."""
        return [namespace for namespace, by in self._untaken if by is way]


async def ask_for_namespaces(
    subscriber: ClientSession, prefix: TrackNamespace, *, options: int = NAMESPACES_ONLY
) -> SubscribeNamespace:
    """Send SUBSCRIBE_NAMESPACE; `options` are those of 16 and 17."""
    return await subscriber.open(SubscribeNamespace(prefix, subscribe_options=options))


async def discover(relay: RelayUnderTest, subscriber: ClientSession, prefix: TrackNamespace) -> Discovery:
    """Subscribe to the namespaces under a prefix, which the relay has to accept if it has discovery at all.

    Raises:
        CaseFailure: It does not.
    """
    request = await ask_for_namespaces(subscriber, prefix)
    async with within(REACTION_SECONDS, "answer to SUBSCRIBE_NAMESPACE"):
        answer = await subscriber.answer(request)
    if isinstance(answer, RequestError) and answer.code == RequestErrorCode.NOT_SUPPORTED:
        relay.not_offered("no-discovery", "the relay does not support SUBSCRIBE_NAMESPACE")
    await subscriber.expect(request, RequestOk)
    return Discovery(relay, subscriber, request)
