"""Updates of subscriptions, which the relay carries out, or refuses and ends the subscription."""

from __future__ import annotations

from pytest_moqt import (
    KeyValues,
    PublishDoneStatus,
    PublishNamespace,
    RelayUnderTest,
    RequestError,
    RequestOk,
    RequestUpdate,
)

from .tracks import NAMESPACE, Parameters, Subscription
from .waits import REACTION_SECONDS, within


async def update(
    relay: RelayUnderTest, subscription: Subscription, parameters: Parameters
) -> RequestOk | None:
    """Change a subscription, and wait until the relay has done so.

    Returns:
        The answer; None in a draft that gives none: another request is answered behind it.

    Raises:
        CaseFailure: The relay does not answer, or refuses and says nothing more.
    """
    session = subscription.session
    async with within(REACTION_SECONDS, "answer to the update"):
        answer = await session.update(subscription.request, KeyValues(parameters))
        if answer is None:
            await session.request(PublishNamespace(relay.namespace(f"{NAMESPACE}/behind")))
            return None
    if isinstance(answer, RequestError):
        # It may: "exactly one REQUEST_OK or REQUEST_ERROR message indicating if the update was successful".
        await update_failed(relay, subscription)
        relay.not_offered("update-refused", session.describe(answer, RequestUpdate))
    assert isinstance(answer, RequestOk), session.describe(answer, RequestUpdate)
    return answer


async def update_failed(relay: RelayUnderTest, subscription: Subscription) -> None:
    """Wait for what has to follow a refusal: the publisher "MUST also terminate the subscription".

    Raises:
        CaseFailure: It does not.
    """
    done = await subscription.done()
    if done.status != PublishDoneStatus.UPDATE_FAILED:
        relay.warn("wrong-code", f"PUBLISH_DONE says {done.status}, not UPDATE_FAILED")
