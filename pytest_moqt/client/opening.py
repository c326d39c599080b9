"""How a session begins, where a case wants it otherwise than a client that knows its draft."""

from __future__ import annotations

from typing import Any

from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.session import Edit


class Opening(Record):
    """What is sent first, and whether the relay's SETUP is waited for."""

    options: tuple[tuple[int, Any], ...] = ()
    "Setup options, by their type, beside our own; in place of our own where these have the same type."
    edit: Edit | None = None
    "What is changed of SETUP's frame before it is sent."
    send: bool = True
    "Whether SETUP is sent at all; if not, the case does it or something else (`ClientSession.begin`)."
    names: tuple[str, ...] | None = None
    """Offered in place of the draft's name, as ALPN or in WT-Available-Protocols (none: without that header).
    Whatever the relay chooses of them, the session speaks the draft; what that means is the case's to say."""
    path: str | None = None
    "Of the request for a WebTransport session, in place of the URL's."
    wait: bool = True
    "Whether the session counts as made only when the relay's SETUP has come; if not, it may never come."


USUAL = Opening()
