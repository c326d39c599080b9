"""Key-value pairs and parameters that no draft allows, or only some: too long, unknown, twice, misplaced."""

from __future__ import annotations

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
    Property,
    Publish,
    PublishNamespace,
    RelayUnderTest,
    Request,
    SessionError,
    SetupOption,
    Subscribe,
    drafts,
)

from .edits import parameter, setup_options
from .outcomes import came_of
from .reactions import attack, closes, harmless, judge_close
from .tracks import ALIAS, NAMESPACE, TRACK, Parameters
from .variants import variant
from .waits import REACTION_SECONDS

UNKNOWN_ODD = 0x3FFF
"A type of bytes that no draft defines, nor keeps for grease."
UNKNOWN_EVEN = 0x3FFE
"The same, of a number."
TOO_LONG = 1 << 16
"A byte more than a value may have."
TYPES_END = 1 << 64
"The first type that there cannot be."
DELIVERY_TIMEOUT = 0x02
"The number of OBJECT_DELIVERY_TIMEOUT in every draft; none has it in PUBLISH_NAMESPACE."
OVERRUN = b"\x01\x10ab"
"A key-value pair of sixteen bytes, of which there are two."
TRACK_PROPERTIES = drafts(16)
"Drafts in which tracks have properties."


@pytest.mark.interop("kvp-value-too-long", timeout=5.0, profile="malformed")
@pytest.mark.spec("key-value-pair-structure")
async def test_kvp_value_too_long(relay: RelayUnderTest) -> None:
    """A key-value pair that claims more than 65535 bytes ends the session with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        integer = relay.draft.integers.encode
        pair = integer(UNKNOWN_ODD) + integer(TOO_LONG) + b"too long"
        opening = Opening(edit=setup_options(relay.draft, 1, pair), wait=False)
        async with relay.connect("attacker", opening=opening) as attacker:
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("kvp-delta-overflow", timeout=5.0, profile="malformed", since=16)
@pytest.mark.spec("key-value-pair-structure")
async def test_kvp_delta_overflow(relay: RelayUnderTest) -> None:
    """Types that add up to more than 2^64-1 end the session with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        largest = relay.draft.integers.maximum
        count = TYPES_END // largest + 1
        # An empty value behind an odd type, the number 0 behind an even one: the same byte.
        pairs = (relay.draft.integers.encode(largest) + b"\x00") * count
        opening = Opening(edit=setup_options(relay.draft, count, pairs), wait=False)
        async with relay.connect("attacker", opening=opening) as attacker:
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("kvp-known-type-bad-value", timeout=5.0, profile="malformed")
@pytest.mark.spec("key-value-pair-structure")
async def test_kvp_known_type_bad_value(relay: RelayUnderTest) -> None:
    """A setup option whose value is not what its type prescribes ends the session."""
    async with harmless(relay):
        cut = bytes([SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE]) + relay.draft.integers.encode(1000)[:1]
        opening = Opening(edit=setup_options(relay.draft, 1, cut), wait=False)
        async with variant(relay, "an integer cut by the end of SETUP", opening=opening) as attacker:
            # Two rules name two codes: the value does not match its type, and SETUP's Length its fields.
            await closes(
                relay, attacker, SessionError.KEY_VALUE_FORMATTING_ERROR, SessionError.PROTOCOL_VIOLATION
            )
        if relay.draft.number in TRACK_PROPERTIES:
            # A relay need not look inside; what it may do when it does, the drafts leave to it.
            immutable: dict[int, bytes] = {Property.IMMUTABLE_PROPERTIES: OVERRUN}
            publish = Publish(relay.namespace(NAMESPACE), TRACK, ALIAS, KeyValues(), KeyValues(immutable))
            async with variant(relay, "immutable properties that overrun") as attacker:
                request = await attacker.open(publish)

                _, said = await came_of(attacker, request)
                relay.info(f"the relay {said}")


async def ignores(session: ClientSession, request: Request) -> None:
    """Make sure that a request is answered as if all of it were known.

    Raises:
        CaseFailure: It is not answered.
    """
    answer, said = await came_of(session, request, seconds=REACTION_SECONDS)
    if not isinstance(answer, Message):
        raise CaseFailure(
            f"a parameter that is to be ignored: the relay {said}",
            cause="closed" if isinstance(answer, Close) else "timeout",
            expected="an answer",
            received=said,
        )


@pytest.mark.interop("param-unknown", timeout=5.0, profile="malformed")
@pytest.mark.spec("message-params", "params")
async def test_param_unknown(relay: RelayUnderTest) -> None:
    """An unknown message parameter ends the session with PROTOCOL_VIOLATION; up to 15 it is ignored."""
    unknown: Parameters = {UNKNOWN_EVEN: 1}
    async with attack(relay) as attacker:
        request = await attacker.open(Subscribe(relay.namespace(NAMESPACE), TRACK, KeyValues(unknown)))

        if relay.draft.unknown_parameters_close:
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
        else:
            await ignores(attacker, request)


@pytest.mark.interop("param-duplicate", timeout=5.0, profile="malformed", level="should")
@pytest.mark.spec("message-params", "params")
async def test_param_duplicate(relay: RelayUnderTest) -> None:
    """A message parameter that may not repeat, and does, ends the session with PROTOCOL_VIOLATION."""
    twice: KeyValues[Parameter | int, Any] = KeyValues([(Parameter.OBJECT_DELIVERY_TIMEOUT, 500)] * 2)
    async with attack(relay) as attacker:
        request = await attacker.open(Subscribe(relay.namespace(NAMESPACE), TRACK, twice))

        answer, said = await came_of(attacker, request, seconds=REACTION_SECONDS)
        if isinstance(answer, Close):
            judge_close(relay, attacker, answer, SessionError.PROTOCOL_VIOLATION)
        else:
            relay.warn("should", f"the relay should end the session, and {said}")


@pytest.mark.interop("param-wrong-message", timeout=5.0, profile="malformed")
@pytest.mark.spec("message-params", "version-specific-params")
async def test_param_wrong_message(relay: RelayUnderTest) -> None:
    """A parameter of other messages ends the session with PROTOCOL_VIOLATION; up to 16 it is ignored."""
    async with attack(relay) as attacker:
        misplaced = parameter(relay.draft, DELIVERY_TIMEOUT, b"\x01")
        request = await attacker.open(PublishNamespace(relay.namespace(NAMESPACE)), edit=misplaced)

        if relay.draft.parameter_scope_closes:
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
        else:
            await ignores(attacker, request)
