"""What a client has to have seen of a server for its test case to be what happened.

Whole files alone say little: a server that knows no Retry, no tickets and no second version gives them too.
"""

from __future__ import annotations

from collections.abc import Sequence

from quic_interop.cases import Case, Plan
from quic_interop.connection import Facts


def shortcoming(case: Case, connections: Sequence[Facts]) -> str | None:
    """What the case needed and did not see, in a sentence; None when nothing is missing.

    Args:
        case: The test case.
        connections: What was seen, in the order of the connections; at least one.
    """
    last = connections[-1]
    for facts in connections:
        if facts.version != case.versions[0]:
            return f"the server chose QUIC version 0x{facts.version:x}, not 0x{case.versions[0]:x}"
        if case.cipher_suites and facts.cipher_suite not in case.cipher_suites:
            return f"the server chose cipher suite 0x{facts.cipher_suite:x}, which was not offered"
    if case.retry and not last.retried:
        return "the server sent no Retry packet"
    if case.key_update and not last.key_updated:
        return "nothing came that was protected with updated keys"
    if case.plan in (Plan.RESUMED, Plan.EARLY) and not last.resumed:
        return "the server did not resume the session"
    if case.plan is Plan.EARLY and not last.early_data_accepted:
        return "the server did not accept 0-RTT data"
    if case.preferred_address and len(last.servers) < 2:
        return "the connection stayed at the server's first address"
    return None
