"""A client and a server for the QUIC Interop Runner: its cases on QUIC itself, over HTTP/0.9 and HTTP/3."""
