"""How much one client may make the relay keep: every collection that a peer can grow has its bound here."""

from __future__ import annotations

CONNECTIONS = 1024
"QUIC connections at a time; first packets beyond are dropped."
TICKETS = 1024
"Session tickets that are remembered, of all clients; the oldest are forgotten first."
REQUESTS = 1024
"Requests of one client that stand at a time; more are refused."
REQUESTS_WAITING = 256
"Requests of ours that wait for a client's MAX_REQUEST_ID."
REQUEST_CREDIT = 128
"Request ids that a client may use before the relay must raise MAX_REQUEST_ID (14-16), in steps of 2."
TOKEN_CACHE_BYTES = 2048
"MAX_AUTH_TOKEN_CACHE_SIZE: what one client may register of authorization tokens."
OUT_OF_ORDER_IDS = 4096
"Request ids seen before smaller ones, where streams may overtake each other."
STREAMS = 4096
"Streams of one client that are open at a time; one more ends its session."
EARLY_BYTES = 256 * 1024
"Bytes of one client that are held until they can be understood: before SETUP, before a track alias."
EARLY_SECONDS = 5.0
"How long data of an unknown track alias is held."
EARLY_STREAMS = 64
"Data streams of one client that are held for an unknown track alias; the oldest is given up first."
EARLY_DATAGRAMS = 64
"The same for datagrams."
OBJECT_BYTES = 16 * 1024 * 1024
"One object's payload."
WHOLE_BYTES = 4096
"Objects of fewer bytes, which are a few packets, are passed on whole; larger ones as they come."
ASSEMBLED_BYTES = 64 * 1024 * 1024
"Of objects that are passed on as they come, what is kept until they are whole, of all tracks."
DATAGRAMS_A_TURN = 16
"UDP datagrams that are read before what they bring is sent, if as many are there."
DATAGRAM_BYTES = 64 * 1024
"No UDP datagram is longer."
STREAM_BACKLOG = 24 * 1024 * 1024
"""Bytes of one forwarded stream that a subscriber has not acknowledged: an object of the greatest size, and
half of another; above, the stream is reset."""
FORWARDED_STREAMS = 1024
"Forwarded streams that one subscriber has open at a time; objects of further ones are dropped."
REMEMBERED = 1024
"Subgroups or datagrams of one track that are remembered to tell a second publisher's copies."
CACHE_BYTES = 64 * 1024 * 1024
"What is kept of all tracks, as `cache` counts it; the oldest groups go first."
CACHE_TRACK_BYTES = 32 * 1024 * 1024
"The same of one track: two objects of the greatest size."
CACHE_OVERHEAD = 256
"What an object, or a group, is counted with beside its bytes."
FETCH_BACKLOG = 1024 * 1024
"Bytes of a fetch that a subscriber has not acknowledged; above, the relay waits before it sends more."
FETCH_PAUSE_SECONDS = 0.01
"How often it looks then: what is acknowledged is no event of the transport."
EARLY_FETCH_BYTES = 4 * 1024 * 1024
"Bytes of a fetch of the relay's own that are held until FETCH_OK says where it ends."
FETCH_SECONDS = 10.0
"The longest that a fetch waits for publishers, in all (`fill-timeout`)."
DATAGRAMS_QUEUED = 1024
"Datagrams that wait for one client's congestion window; more are dropped, as a network would."
CONNECT_BYTES = 64 * 1024
"Bytes of HTTP/3 that are kept until a frame is whole."
SETUP_SECONDS = 10.0
"Until a client that says nothing is closed with CONTROL_MESSAGE_TIMEOUT."
RENDEZVOUS_SECONDS = 30.0
'The longest a subscription is held; "The relay MAY use a shorter timeout" (`rendezvous-timeout`).'
ANSWER_SECONDS = 10.0
"Until a publisher that does not answer a SUBSCRIBE is given up with TIMEOUT."
WAKE_SECONDS = 1.0
"Until the answer of a publisher that is to forward objects again is not waited for any more."
DRAIN_SECONDS = 2.0
"After PUBLISH_DONE: how long streams that it counts and that have not come are waited for."
DRAIN_UNKNOWN_SECONDS = 0.5
"The same when the publisher does not say how many there are."
IDLE_SECONDS = 30.0
"Until a silent connection is given up (QUIC's idle timeout)."
LINGER_SECONDS = 1.0
"""How long the relay waits for a client to end its half: of a request's stream when the relay has said all,
of the connection when the relay has ended the WebTransport session."""
