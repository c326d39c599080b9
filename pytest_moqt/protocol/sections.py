"""Where a draft says a thing: anchor -> section number, per draft.

Section numbers move from draft to draft, anchors do not; so cases cite anchors and reports print both.
The table is read off the drafts' own headings (`## PUBLISH_NAMESPACE {#message-pub-ns}`).
"""

from __future__ import annotations

SECTIONS: dict[str, dict[int, str]] = {
    "reason-phrase": {14: "1.4.3", 16: "1.4.3", 18: "1.4.4"},
    "model": {14: "2", 16: "2", 18: "2"},
    "model-object": {14: "2.1", 16: "2.1", 18: "2.1"},
    "model-subgroup": {14: "2.2", 16: "2.2", 18: "2.2"},
    "model-group": {14: "2.3", 16: "2.3", 18: "2.3"},
    "model-track": {14: "2.4", 16: "2.4", 18: "2.4"},
    "track-name": {14: "2.4.1", 16: "2.4.1", 18: "2.4.1"},
    "session": {14: "3", 16: "3", 18: "3"},
    "session-establishment": {14: "3.1", 16: "3.1", 18: "3.1"},
    "version-negotiation": {14: "3.2"},
    "session-init": {14: "3.3", 16: "3.3", 18: "3.3"},
    "session-termination": {14: "3.4", 16: "3.4", 18: "3.5"},
    "session-migration": {14: "3.5", 16: "3.5", 18: "3.6"},
    "track-discovery": {14: "6", 16: "6", 18: "6"},
    "priorities": {14: "7", 16: "7", 18: "7"},
    "relays-moq": {14: "8", 16: "8", 18: "9"},
    "message": {14: "9", 16: "9", 18: "10"},
    "version-specific-params": {14: "9.2.1"},
    "delivery-timeout": {14: "9.2.1.2", 16: "9.2.2.2"},
    "message-setup": {14: "9.3", 16: "9.3", 18: "10.3"},
    "authority": {14: "9.3.2.1", 16: "9.3.1.1", 18: "10.3.1.1"},
    "path": {14: "9.3.2.2", 16: "9.3.1.2", 18: "10.3.1.2"},
    "max-request-id": {14: "9.3.2.3", 16: "9.3.1.3"},
    "max-auth-token-cache-size": {14: "9.3.2.4", 16: "9.3.1.4", 18: "10.3.1.3"},
    "message-goaway": {14: "9.4", 16: "9.4", 18: "10.4"},
    "message-max-request-id": {14: "9.5", 16: "9.5"},
    "message-requests-blocked": {14: "9.6", 16: "9.6"},
    "message-subscribe-req": {14: "9.7", 16: "9.9", 18: "10.7"},
    "message-subscribe-ok": {14: "9.8", 16: "9.10", 18: "10.8"},
    "message-subscribe-error": {14: "9.9"},
    "message-subscribe-update": {14: "9.10"},
    "message-unsubscribe": {14: "9.11", 16: "9.12"},
    "message-publish-done": {14: "9.12", 16: "9.15", 18: "10.11"},
    "message-publish": {14: "9.13", 16: "9.13", 18: "10.10"},
    "message-publish-ok": {14: "9.14", 16: "9.14"},
    "message-publish-error": {14: "9.15"},
    "message-fetch": {14: "9.16", 16: "9.16", 18: "10.12"},
    "message-fetch-ok": {14: "9.17", 16: "9.17", 18: "10.13"},
    "message-fetch-error": {14: "9.18"},
    "message-fetch-cancel": {14: "9.19", 16: "9.18"},
    "message-track-status": {14: "9.20", 16: "9.19", 18: "10.14"},
    "message-track-status-ok": {14: "9.21"},
    "message-track-status-error": {14: "9.22"},
    "message-pub-ns": {14: "9.23", 16: "9.20", 18: "10.15"},
    "message-pub-ns-ok": {14: "9.24"},
    "message-pub-ns-error": {14: "9.25"},
    "message-pub-ns-done": {14: "9.26", 16: "9.22"},
    "message-pub-ns-cancel": {14: "9.27", 16: "9.24"},
    "message-subscribe-ns": {14: "9.28", 16: "9.25", 18: "10.18"},
    "message-sub-ns-ok": {14: "9.29"},
    "message-sub-ns-error": {14: "9.30"},
    "message-unsub-ns": {14: "9.31"},
    "data-streams": {14: "10", 16: "10", 18: "11"},
    "message-object": {14: "10.2", 16: "10.2", 18: "11.2"},
    "object-properties": {14: "10.2.1", 16: "10.2.1", 18: "11.2.1.2"},
    "object-status": {14: "10.2.1.1", 16: "10.2.1.1", 18: "11.2.1.1"},
    "object-extensions": {14: "10.2.1.2", 16: "10.2.1.2"},
    "object-datagram": {14: "10.3.1", 16: "10.3.1", 18: "11.3.1"},
    "fetch-header": {14: "10.4.4", 16: "10.4.4", 18: "11.4.4"},
    "extension-headers": {16: "2.5"},
    "extension-negotiation": {16: "3.2", 18: "3.2"},
    "subscriptions": {16: "5.1", 18: "5.1"},
    "message-params": {16: "9.2.2", 18: "10.2"},
    "subscriber-priority": {16: "9.2.2.3", 18: "10.2.7"},
    "group-order": {16: "9.2.2.4", 18: "10.2.8"},
    "subscription-filter": {16: "9.2.2.5", 18: "10.2.9"},
    "expires": {16: "9.2.2.6", 18: "10.2.10"},
    "largest-param": {16: "9.2.2.7", 18: "10.2.11"},
    "new-group-request": {16: "9.2.2.9", 18: "10.2.13"},
    "message-request-ok": {16: "9.7", 18: "10.5"},
    "message-request-error": {16: "9.8", 18: "10.6"},
    "message-request-update": {16: "9.11", 18: "10.9"},
    "message-namespace": {16: "9.21", 18: "10.16"},
    "message-namespace-done": {16: "9.23", 18: "10.17"},
    "moqt-extension-headers": {16: "11"},
    "delivery-timeout-ext": {16: "11.0.0.1"},
    "publisher-priority": {16: "11.0.0.3", 18: "12.4"},
    "group-order-pref": {16: "11.0.0.4", 18: "12.5"},
    "properties": {18: "2.5"},
    "moqt-fragment": {18: "3.1.2"},
    "webtransport": {18: "3.1.3"},
    "native-quic": {18: "3.1.4"},
    "session-level-tracks": {18: "3.2.2"},
    "request-cancellation": {18: "3.3.2"},
    "stream-reset-codes": {18: "3.3.3"},
    "stream-types": {18: "3.4"},
    "subscription-filters": {18: "5.1.2"},
    "delivery-timeouts": {18: "8"},
    "object-delivery-timeout": {18: "10.2.4"},
    "rendezvous-timeout": {18: "10.2.6"},
    "forward-parameter": {18: "10.2.12"},
    "track-namespace-prefix-param": {18: "10.2.14"},
    "setup-options": {18: "10.3.1"},
    "moqt-implementation": {18: "10.3.1.5"},
    "redirect-structure": {18: "10.6.1"},
    "message-subscribe-tracks": {18: "10.19"},
    "message-publish-blocked": {18: "10.20"},
    "object-header": {18: "11.2.1"},
    "end-of-range": {18: "11.4.4.2"},
    "padding": {18: "11.5"},
    "padding-streams": {18: "11.5.1"},
    "padding-datagrams": {18: "11.5.2"},
    "moqt-properties": {18: "12"},
    "object-delivery-timeout-ext": {18: "12.2"},
    "grease": {18: "14"},
}


def section(anchor: str, draft: int) -> str | None:
    """The number of a section in a draft; None where the draft has no such anchor."""
    return SECTIONS.get(anchor, {}).get(draft)


def cite(anchor: str, draft: int) -> str:
    """A section as a report names it: `MoQT-18 section 10.15 (message-pub-ns)`."""
    number = section(anchor, draft)
    return f"MoQT-{draft} section {number} ({anchor})" if number else f"MoQT-{draft} ({anchor})"


def link(anchor: str, draft: int) -> str:
    """Where that section can be read."""
    number = section(anchor, draft)
    document = f"https://datatracker.ietf.org/doc/html/draft-ietf-moq-transport-{draft}"
    return f"{document}#section-{number}" if number else document
