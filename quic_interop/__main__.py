"""`python -m quic_interop`: the client or the server, as ROLE says."""

from __future__ import annotations

import os
import sys

from quic_interop.command import client, server

ROLES = {"client": client, "server": server}

if __name__ == "__main__":
    role = os.environ.get("ROLE", "")
    if role not in ROLES:
        sys.exit(f"ROLE is {role!r}, must be client or server")
    sys.exit(ROLES[role]())
