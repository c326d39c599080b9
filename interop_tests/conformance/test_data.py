"""Objects: every one that is sent comes, once, with its bytes, in its place."""

from __future__ import annotations

import pytest

from pytest_moqt import RelayUnderTest

from .tracks import established, payload


@pytest.mark.interop("single-object", timeout=5.0, profile="data")
@pytest.mark.spec("model-object", "subgroup-header", "data-streams")
async def test_single_object(relay: RelayUnderTest) -> None:
    """One object comes to the subscriber with its bytes."""
    async with established(relay) as (publication, subscription):
        publication.group(0, [0])

        await subscription.objects((0, 0))
        await subscription.streams(1)

        assert subscription.places == [(0, 0)]
        assert subscription.payloads[0, 0] == payload(0, 0)


@pytest.mark.interop("multiple-groups", timeout=5.0, profile="data")
@pytest.mark.spec("model-group", "subgroup-header")
async def test_multiple_groups(relay: RelayUnderTest) -> None:
    """Each group comes whole, on a stream of its own."""
    sent = [(group, number) for group in range(4) for number in range(4)]
    async with established(relay) as (publication, subscription):
        for group in range(4):
            publication.group(group)

        await subscription.objects(*sent)
        await subscription.streams(4)

        assert subscription.places == sent
        assert subscription.payloads == {(group, number): payload(group, number) for group, number in sent}
