"""Streams that a case writes byte by byte, for what a session would never send."""

from __future__ import annotations

from pytest_moqt.protocol.transport import StreamTransport


class RawStream:
    """A stream of ours, whatever it is; what comes on it is read by the session like anything else."""

    def __init__(self, transport: StreamTransport, stream_id: int) -> None:
        self.stream_id = stream_id
        self._transport = transport

    def send(self, data: bytes, *, fin: bool = False) -> None:
        """Send bytes, with `fin` as the last."""
        self._transport.send(self.stream_id, data, fin=fin)

    def finish(self) -> None:
        """End our half."""
        self._transport.send(self.stream_id, b"", fin=True)

    def reset(self, code: int) -> None:
        """Abandon our half (RESET_STREAM)."""
        self._transport.reset(self.stream_id, code)

    def stop(self, code: int) -> None:
        """Ask the relay to abandon its half (STOP_SENDING)."""
        self._transport.stop(self.stream_id, code)
