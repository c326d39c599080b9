"""What an update may say, beyond its layout: rules that need the request it changes."""

from __future__ import annotations

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import LocalProtocolError, ProtocolViolation
from pytest_moqt.protocol.layouts import layout_of_message
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter


def check_update(
    update: m.RequestUpdate,
    request: type[m.Message],
    draft: Draft,
    *,
    by_requester: bool,
    error: type[LocalProtocolError | ProtocolViolation] = ProtocolViolation,
) -> None:
    """Hold an update against the request it changes.

    Up to draft 15 only subscriptions are updated, and no parameter is bound to a kind of request. 16 ends the
    session "if the parameters included in the REQUEST_UPDATE are invalid for the type of request being
    modified" (section 9.11); from 17 on a definition that names the request (`message-params`) does, as
    any parameter in a wrong place.

    Args:
        update: The update.
        request: What it changes.
        draft: The session's.
        by_requester: The update is that of who made the request; otherwise that of who was asked, as the
            subscriber of a PUBLISH may update it.
        error: What to raise.

    Raises:
        ProtocolViolation: A parameter that such an update may not have; or `error`, where that is given.
    """
    name = layout_of_message(draft, request).name
    updater = name if by_requester else f"{name}_OK"
    for key, _ in update.parameters.pairs:
        row = parameter_layout(key, draft) if isinstance(key, Parameter) else None
        if row is not None and row.updates is not None and updater not in row.updates:
            whose = "" if by_requester else " by its subscriber"
            raise error(f"parameter {row.label} may not be in an update of {name}{whose}")
