"""What a client has to have seen, fact by fact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quic_interop.cases import CASES, CHACHA20_POLY1305_SHA256, QUIC_V2
from quic_interop.connection import Facts
from quic_interop.verdict import shortcoming

PLAIN = Facts(
    version=1,
    cipher_suite=0x1302,
    retried=False,
    resumed=False,
    early_data_accepted=False,
    key_updated=False,
    servers=(("192.0.2.1", 443),),
    handshake_ms=1.0,
)
EVERYTHING = replace(
    PLAIN,
    cipher_suite=CHACHA20_POLY1305_SHA256,
    retried=True,
    resumed=True,
    early_data_accepted=True,
    key_updated=True,
    servers=(("192.0.2.1", 443), ("192.0.2.1", 444)),
)
NEEDED = {
    "retry": ({"retried": False}, "the server sent no Retry packet"),
    "keyupdate": ({"key_updated": False}, "nothing came that was protected with updated keys"),
    "chacha20": ({"cipher_suite": 0x1301}, "the server chose cipher suite 0x1301, which was not offered"),
    "v2": ({"version": 1}, "the server chose QUIC version 0x1, not 0x6b3343cf"),
    "resumption": ({"resumed": False}, "the server did not resume the session"),
    "zerortt": ({"early_data_accepted": False}, "the server did not accept 0-RTT data"),
    "connectionmigration": (
        {"servers": PLAIN.servers},
        "the connection stayed at the server's first address",
    ),
}


@pytest.mark.parametrize("name", NEEDED)
def test_each_case_needs_its_own_fact(name: str) -> None:
    """With everything seen it is content; without the one fact it names it."""
    seen = replace(EVERYTHING, version=QUIC_V2) if name == "v2" else EVERYTHING
    lacking, sentence = NEEDED[name]

    assert shortcoming(CASES[name], [PLAIN if name in ("resumption", "zerortt") else seen, seen]) is None
    assert shortcoming(CASES[name], [replace(seen, **lacking)]) == sentence  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(set(CASES) - set(NEEDED)))
def test_other_cases_need_version_1_alone(name: str) -> None:
    """Their files say the rest."""
    assert shortcoming(CASES[name], [PLAIN]) is None
    assert shortcoming(CASES[name], [PLAIN, replace(PLAIN, version=QUIC_V2)]) == (
        "the server chose QUIC version 0x6b3343cf, not 0x1"
    )


def test_facts_in_a_line() -> None:
    """What is notable is named, what is not is left out."""
    assert str(PLAIN) == "QUIC version 0x1, cipher suite 0x1302, handshake 1 ms"
    assert str(EVERYTHING) == (
        "QUIC version 0x1, cipher suite 0x1303, handshake 1 ms, "
        "Retry, resumed, early data accepted, keys updated, moved to port 444"
    )
