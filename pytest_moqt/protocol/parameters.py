"""The names of message parameters, setup options and properties.

Rules:

- A message parameter is a meaning: 0x4 is MAX_CACHE_DURATION in drafts 14 and 15 and
  RENDEZVOUS_TIMEOUT from 17, and what draft 14 writes as fixed fields (priority, group order, forward,
  filter, expires, largest object) are parameters later. Messages always carry them as parameters, in
  every draft; `parameter_layouts.py` says what each draft makes of them.
- Setup options and properties keep their numbers through all drafts, so those are IntEnums.
- A type that no draft defines stays a number.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from pytest_moqt.protocol.values import KeyValues


class Parameter(StrEnum):
    """Message parameters (`message-params`)."""

    OBJECT_DELIVERY_TIMEOUT = "OBJECT_DELIVERY_TIMEOUT"
    "Milliseconds; DELIVERY_TIMEOUT up to draft 17."
    AUTHORIZATION_TOKEN = "AUTHORIZATION_TOKEN"
    "A Token; may repeat."
    MAX_CACHE_DURATION = "MAX_CACHE_DURATION"
    "Milliseconds; drafts 14 and 15, a track property later."
    RENDEZVOUS_TIMEOUT = "RENDEZVOUS_TIMEOUT"
    "Milliseconds; from draft 17."
    SUBGROUP_DELIVERY_TIMEOUT = "SUBGROUP_DELIVERY_TIMEOUT"
    "Milliseconds; from draft 18."
    EXPIRES = "EXPIRES"
    "Milliseconds; 0 is never."
    LARGEST_OBJECT = "LARGEST_OBJECT"
    "A Location; absent: the track has no object yet."
    FILL_TIMEOUT = "FILL_TIMEOUT"
    "Milliseconds; from draft 18."
    PUBLISHER_PRIORITY = "PUBLISHER_PRIORITY"
    "0-255; draft 15 only, a track property later."
    FORWARD = "FORWARD"
    "1: send objects, 0: do not; absent is 1."
    SUBSCRIBER_PRIORITY = "SUBSCRIBER_PRIORITY"
    "0-255, lower is more important; absent is 128."
    SUBSCRIPTION_FILTER = "SUBSCRIPTION_FILTER"
    "A Filter; absent: from the largest object on (14), unfiltered (15 on). LOCATION_FILTER from 19."
    GROUP_ORDER = "GROUP_ORDER"
    "A GroupOrder; absent: the publisher's."
    DYNAMIC_GROUPS = "DYNAMIC_GROUPS"
    "0 or 1; draft 15 only, a track property later."
    NEW_GROUP_REQUEST = "NEW_GROUP_REQUEST"
    "The largest group known to the subscriber; 0: any."
    TRACK_NAMESPACE_PREFIX = "TRACK_NAMESPACE_PREFIX"
    "A TrackNamespace; from draft 18."
    FILL_PARAMETERS = "FILL_PARAMETERS"
    "KeyValues of parameters: what of the past is to be sent beside a subscription; from draft 20."
    SUBGROUP_FILTER = "SUBGROUP_FILTER"
    "A RangeFilter, as the next four; from draft 19; may repeat."
    OBJECTID_FILTER = "OBJECTID_FILTER"
    PRIORITY_FILTER = "PRIORITY_FILTER"
    OBJECT_PROPERTY_FILTER = "OBJECT_PROPERTY_FILTER"
    TRACK_PROPERTY_FILTER = "TRACK_PROPERTY_FILTER"
    INCLUDE_PROPERTIES = "INCLUDE_PROPERTIES"
    "0: the track's properties may be left out; from draft 20, absent is 1."


class SetupOption(IntEnum):
    """Setup parameters or options (`setup-options`)."""

    PATH = 0x01
    MAX_REQUEST_ID = 0x02
    AUTHORIZATION_TOKEN = 0x03
    MAX_AUTH_TOKEN_CACHE_SIZE = 0x04
    AUTHORITY = 0x05
    MAX_FILTER_RANGES = 0x06  # from 19
    # Draft 14 prints 0x05 for both AUTHORITY and MOQT_IMPLEMENTATION (sections 9.3.2.1, 9.3.2.6); every
    # later draft and every implementation has the latter at 0x07.
    MOQT_IMPLEMENTATION = 0x07
    MAX_REQUEST_UPDATES = 0x08  # from 19


class Property(IntEnum):
    """Track and object properties, "extension headers" up to draft 16 (`moqt-properties`)."""

    OBJECT_DELIVERY_TIMEOUT = 0x02
    MAX_CACHE_DURATION = 0x04
    SUBGROUP_DELIVERY_TIMEOUT = 0x06
    IMMUTABLE_PROPERTIES = 0x0B
    DEFAULT_PUBLISHER_PRIORITY = 0x0E
    DEFAULT_PUBLISHER_GROUP_ORDER = 0x22
    DYNAMIC_GROUPS = 0x30
    PRIOR_GROUP_ID_GAP = 0x3C
    PRIOR_OBJECT_ID_GAP = 0x3E


Parameters = KeyValues[Parameter | int, Any]
"Message parameters; an int key is a type that the draft does not define, its value int or bytes."
Options = KeyValues[int, Any]
"Setup options by SetupOption or int; values int (even types), bytes (odd types) or Token."
Properties = KeyValues[int, Any]
"Properties by Property or int; values int (even types) or bytes (odd types)."
