"""Messages whose integers are longer than need be: what they mean does not change, how long they are does."""

from __future__ import annotations

import pytest

from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import DRAFTS
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.framing import decode, encode, pull_frame
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.messages import Subscribe

SUBSCRIBE = Subscribe((b"moq-test", b"interop"), b"track", request_id=2)
WIDTHS = [(number, octets) for number, draft in DRAFTS.items() for octets in draft.integers.lengths[1:]]


@pytest.mark.parametrize(("number", "octets"), WIDTHS)
def test_a_widened_message_means_the_same(number: int, octets: int) -> None:
    """Its type and each integer of its body have the length that was asked for."""
    draft = DRAFTS[number]
    frame = encode(SUBSCRIBE, draft, sender=Sender.CLIENT)

    data = frame.widened(draft, octets).encode(draft)

    assert draft.integers.decode(data) == (frame.type, octets)
    read = pull_frame(Reader(data, draft.integers))
    assert decode(read, draft, Sender.CLIENT)[0] == decode(frame, draft, Sender.CLIENT)[0]
    assert draft.integers.decode(read.body) == (2, octets)
    assert len(read.body) > len(frame.body)


@pytest.mark.parametrize("number", DRAFTS)
def test_a_coding_of_one_length_has_no_other(number: int) -> None:
    """What does not fit it cannot be written."""
    coding = DRAFTS[number].integers.only(2)

    assert len(coding.encode(0)) == 2
    with pytest.raises(LocalProtocolError):
        coding.encode(1 << 20)
