"""What a client's SETUP may say: version, PATH and AUTHORITY, and the codes for what it may not."""

from __future__ import annotations

import re

from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import (
    InvalidAuthority,
    InvalidPath,
    RemoteProtocolError,
    VersionNegotiationFailed,
)
from pytest_moqt.protocol.messages import Setup
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import SessionError

_PCHAR = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_PATH = re.compile(rb"(?:/" + _PCHAR + rb"*)*(?:\?(?:" + _PCHAR + rb"|[/?])*)?")
"path-abempty [ ? query ], RFC 3986 sections 3.3 and 3.4."
_AUTHORITY = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*@)?"
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?"
)
'authority, RFC 3986 section 3.2; "host" may not be empty.'


class MalformedPath(RemoteProtocolError):
    """PATH that is no `path-abempty [?query]` of RFC 3986."""

    code = SessionError.MALFORMED_PATH


class MalformedAuthority(RemoteProtocolError):
    """AUTHORITY that is no authority of RFC 3986, or has no host."""

    code = SessionError.MALFORMED_AUTHORITY


def check_setup(setup: Setup, draft: Draft, *, webtransport: bool) -> None:
    """Check a client's SETUP; unknown options are ignored.

    Raises:
        RemoteProtocolError: It offers no version that is spoken, or says what it may not.
    """
    code = draft.version_code
    if code is not None and code not in setup.versions:
        offered = ", ".join(f"{version:#x}" for version in setup.versions) or "none"
        raise VersionNegotiationFailed(f"no common version: {offered} offered, {code:#x} spoken")
    path = setup.options.get(SetupOption.PATH)
    if path is not None:
        if webtransport:
            raise InvalidPath("PATH over WebTransport, whose URL has the path")
        if not _PATH.fullmatch(path):
            raise MalformedPath(f"PATH is {path[:200]!r}, must be empty or begin with a slash")
    authority = setup.options.get(SetupOption.AUTHORITY)
    if authority is not None:
        if webtransport:
            raise InvalidAuthority("AUTHORITY over WebTransport, whose URL has the authority")
        if not _AUTHORITY.fullmatch(authority):
            raise MalformedAuthority(f"AUTHORITY is {authority[:200]!r}, must be a host, perhaps a port")
