"""Namespaces are published and withdrawn."""

from __future__ import annotations

import pytest

from pytest_moqt import PublishNamespace, RelayUnderTest, RequestOk

NAMESPACE = "moq-test/interop"
NEXT = "moq-test/interop/next"
"Another one, so that the answer does not depend on how soon a withdrawal takes effect."


@pytest.mark.interop("announce-only", timeout=2.0, after_sending=True)
@pytest.mark.spec("message-pub-ns", "message-request-ok", "message-pub-ns-ok")
async def test_announce_only(relay: RelayUnderTest) -> None:
    """The relay accepts the namespace that we publish."""
    async with relay.connect() as session:
        await session.request(PublishNamespace(relay.namespace(NAMESPACE)), expect=RequestOk)


@pytest.mark.interop("publish-namespace-done", timeout=2.0, after_sending=True)
@pytest.mark.spec("message-pub-ns", "message-request-ok", "message-pub-ns-ok")
@pytest.mark.spec("message-pub-ns-done", "request-cancellation")
async def test_publish_namespace_done(relay: RelayUnderTest) -> None:
    """A namespace that the relay has accepted is withdrawn, and the session stays healthy."""
    async with relay.connect() as session:
        published = await session.open(PublishNamespace(relay.namespace(NAMESPACE)))
        await session.expect(published, RequestOk)

        await session.cancel(published)

        # Healthy is a session whose next request is answered, either way. A PING says less: the relay's
        # QUIC stack acknowledges it before the relay has looked at the withdrawal.
        await session.request(PublishNamespace(relay.namespace(NEXT)))
