"""What is changed of a frame that is valid, for no more than one thing to be wrong with it."""

from __future__ import annotations

from collections.abc import Callable

from pytest_moqt import Draft, Frame

Edit = Callable[[Frame], Frame]


def ending(new: bytes, *, instead_of: bytes = b"") -> Edit:
    """Other bytes at a body's end."""

    def edit(frame: Frame) -> Frame:
        assert frame.body.endswith(instead_of), f"{frame.body.hex()} does not end with {instead_of.hex()}"
        return frame.replace(body=frame.body.removesuffix(instead_of) + new)

    return edit


def parameter(draft: Draft, number: int, value: bytes) -> Edit:
    """One message parameter of a request that is written without any, its count being the last byte.

    Args:
        draft: Whose integers are written.
        number: The parameter's type.
        value: All behind the type, with its length where it has one.
    """
    return ending(b"\x01" + draft.integers.encode(number) + value, instead_of=b"\x00")


def setup_options(draft: Draft, count: int, pairs: bytes) -> Edit:
    """These options alone in SETUP.

    Args:
        draft: Whose SETUP it is.
        count: How many options `pairs` has.
        pairs: Their bytes.
    """
    body = b""
    if draft.version_code is not None:
        body += b"\x01" + draft.integers.encode(draft.version_code)
    if draft.counted_options:
        body += draft.integers.encode(count)
    return lambda frame: frame.replace(body=body + pairs)
