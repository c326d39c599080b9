"""NEW_GROUP_REQUEST on its way to a publisher: which are passed on (`new-group-request`).

Rules:

- With the first SUBSCRIBE it goes along, whatever its value.
- Later one of 0, or for a group above the largest, goes on in an update, if the track has dynamic groups.
- One that was sent is outstanding until the largest group increases; until then only a higher one follows.
"""

from __future__ import annotations

from pytest_moqt.protocol.parameters import Properties, Property
from pytest_moqt.protocol.values import Location


class NewGroups:
    """Of one track."""

    def __init__(self) -> None:
        self._outstanding: int | None = None

    def sent(self, value: int) -> None:
        """A request went to the publishers."""
        self._outstanding = value

    def came(self, group: int, largest: Location | None) -> None:
        """An object came of a group; `largest` is the largest before."""
        if largest is None or group > largest.group:
            self._outstanding = None

    def passes(self, value: int, largest: Location | None, properties: Properties) -> bool:
        """Whether a subscriber's request goes on to the publishers of a track that stands."""
        if properties.get(Property.DYNAMIC_GROUPS) != 1:
            return False
        if self._outstanding is not None and self._outstanding >= value:
            return False
        return value == 0 or largest is None or value > largest.group
