"""A connection over which nothing is asked is not kept."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

PATIENCE = 30
"""Seconds in which a request has to come, and then its body."""


class Connection(H11Protocol):
    """Closes where no request has come whole, headers included, since it was opened or the last one was answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
        self._look_later()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Who has said all still hears the answer that is being made."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no longer."""
        self._next_look.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._next_look = self.loop.call_later(PATIENCE, self._look, self.cycle)

    def _look(self, before: RequestResponseCycle | None) -> None:
        if self.cycle is before and (before is None or before.response_complete):
            self.transport.close()
        else:
            self._look_later()

    def send_400_response(self, msg: str) -> None:
        """Refuse what came; what is being answered is given up, as the connection ends with this."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        super().send_400_response(msg)
