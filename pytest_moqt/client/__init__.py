"""What carries a session to a relay: asyncio and aioquic, raw QUIC and WebTransport; knows no pytest."""
