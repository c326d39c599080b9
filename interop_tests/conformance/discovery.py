"""What a subscriber hears of the namespaces under a prefix, in its draft's way.

In drafts 14 and 15 the relay answers with requests of its own, PUBLISH_NAMESPACE; later with NAMESPACE on the
stream of SUBSCRIBE_NAMESPACE. 16 and 17 ask for both, each in one section, so either will do there.

Whatever is awaited, every PUBLISH_NAMESPACE is answered: a relay "MAY send the PUBLISH_NAMESPACE to any other
subscriber" (`publishing-namespaces`), of other clients' namespaces too, and may say nothing else until it has
the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from pytest_moqt import (
    CaseFailure,
    ClientSession,
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

from .silence import never_came
from .waits import REACTION_SECONDS, within

T = TypeVar("T")

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
        self._requests: dict[TrackNamespace, PublishNamespace] = {}
        self._requested: asyncio.Queue[TrackNamespace] = asyncio.Queue()
        self._notices: set[TrackNamespace] = set()

    async def told(self, *suffix: bytes) -> None:
        """Wait to be told of a namespace, before any other under the prefix.

        Raises:
            CaseFailure: Nothing comes, or it is another one.
        """
        draft, wanted = self._relay.draft, self.prefix + suffix
        async with within(REACTION_SECONDS, f"notice of {self._say(suffix)}"):
            if not self._relay.supports(Namespace):
                told = await self._answering(self._requested.get())
            elif not draft.namespaces_by_request:
                told = await self._answering(self._by_namespace())
            else:
                told = await self._answering(_first(self._by_namespace(), self._requested.get()))
        if told != wanted:
            raise CaseFailure(
                f"the relay told {self.session.role} of {told!r}, where {wanted!r} was published",
                cause="wrong-message",
                expected=f"the namespace {wanted!r}",
                received=f"the namespace {told!r}",
            )

    async def withdrawn(self, *suffix: bytes) -> None:
        """Wait to be told that a namespace is no more.

        Raises:
            CaseFailure: Nothing comes, or it is about another one.
        """
        request = self._requests.get(self.prefix + suffix)
        async with within(REACTION_SECONDS, f"notice of the end of {self._say(suffix)}"):
            if request is not None:
                await self._answering(self.session.wait_withdrawn(request))
                return
            done = await self._answering(self.session.receive_later(self.request, NamespaceDone))
        if done.track_namespace_suffix != suffix:
            raise CaseFailure(
                f"the relay told {self.session.role} of the end of {done.track_namespace_suffix!r}, "
                f"where {suffix!r} was withdrawn",
                cause="wrong-message",
                expected=f"NAMESPACE_DONE for {suffix!r}",
                received=f"NAMESPACE_DONE for {done.track_namespace_suffix!r}",
            )

    async def told_no_more(self, why: str) -> None:
        """Make sure that of what came until now nothing is left untaken.

        Only on the request's own stream: "A publisher MAY send the PUBLISH_NAMESPACE to any other subscriber"
        (`publishing-namespaces`).

        Raises:
            CaseFailure: The relay told of a namespace, or of the end of one.
        """
        if self._relay.supports(Namespace):
            await never_came(self.session, Namespace, why, about=self.request, where=self._is_news)
            await never_came(self.session, NamespaceDone, why, about=self.request)

    async def _by_namespace(self) -> TrackNamespace:
        while True:
            notice = await self.session.receive_later(self.request, Namespace)
            if self._is_news(notice):
                namespace = self.prefix + notice.track_namespace_suffix
                self._notices.add(namespace)
                return namespace

    def _is_news(self, notice: Namespace) -> bool:
        # A relay that goes both ways says everything twice: what came by the other way is no news.
        return self.prefix + notice.track_namespace_suffix not in self._requests

    async def _answering(self, wait: Coroutine[Any, Any, T]) -> T:
        """Wait for something, and answer what is asked meanwhile."""
        return await _first(wait, self._answer())

    async def _answer(self) -> NoReturn:
        while True:
            request = await self.session.receive(PublishNamespace)
            await self.session.reply(request, RequestOk())
            namespace = request.track_namespace
            if namespace[: len(self.prefix)] == self.prefix and namespace not in self._notices:
                self._requests[namespace] = request
                self._requested.put_nowait(namespace)

    @staticmethod
    def _say(suffix: TrackNamespace) -> str:
        return f"the namespace {suffix!r} under the prefix" if suffix else "the namespace of the prefix"


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


async def _first(*ways: Coroutine[Any, Any, T]) -> T:
    """What comes first, by whichever way; the earlier of these where both are there."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
