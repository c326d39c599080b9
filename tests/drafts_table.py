"""The README's table of drafts, from the tables: `python tests/drafts_table.py` writes it into the README."""

from __future__ import annotations

from pathlib import Path

from pytest_moqt import catalog
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED, Draft, Topology
from pytest_moqt.protocol.spans import drafts

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- drafts: written by tests/drafts_table.py -->\n"
END = "<!-- end of drafts -->\n"


def _cases(row: Draft) -> str:
    missing = [case.identifier for case in catalog.CATALOG if row.number not in drafts(case.since)]
    return "all" if not missing else f"all but `{'`, `'.join(missing)}`"


def table() -> str:
    """The rows, newest first, as the drafts are offered."""
    lines = [
        "| Draft | Raw QUIC, ALPN | WebTransport, sub-protocol | Requests travel on | Cases |\n",
        "|---|---|---|---|---|\n",
    ]
    for row in (DRAFTS[number] for number in SUPPORTED):
        sub_protocol = f"`{row.wt_protocol}`" if row.wt_protocol else "none offered"
        single = row.topology is Topology.SINGLE_CONTROL_STREAM
        where = "one control stream" if single else "a stream each"
        lines.append(f"| {row.number} | `{row.alpn}` | {sub_protocol} | {where} | {_cases(row)} |\n")
    return "".join(lines)


def written(text: str) -> str:
    """`text` with the table between its marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
