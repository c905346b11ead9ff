"""The memory that request bodies take together, also while they are still being sent."""

from collections.abc import AsyncIterable

from serving.server.status import Code, StatusError


class TooLargeError(Exception):
    """A body is over the limit of a single one."""


class Bodies:
    """Reads bodies of HTTP, holds messages of gRPC, and refuses what is too much for all of them together.

    Belongs to one event loop. Nothing waits here: a client that sends slowly would keep others waiting.

    Args:
        size: The most bytes of all bodies at once.
        largest: The most bytes of one.
    """

    def __init__(self, size: int, largest: int) -> None:
        self._free = size
        self._largest = largest

    async def read(self, parts: AsyncIterable[bytes], held: list[int]) -> bytes:
        """A whole body.

        Args:
            parts: It, as it comes.
            held: Gets the number of bytes that are to be given back with `give_back` when the request is answered,
                whatever happens.

        Raises:
            TooLargeError: If it is too large.
            StatusError: UNAVAILABLE if all of them together are.
        """
        body = bytearray()
        async for part in parts:
            if len(body) + len(part) > self._largest:
                raise TooLargeError
            self.hold(len(part), held)
            body += part
        return bytes(body)

    def hold(self, size: int, held: list[int]) -> None:
        """Takes so many bytes, and notes them in `held`.

        Raises:
            StatusError: UNAVAILABLE if there are not as many.
        """
        if size > self._free:
            raise StatusError(
                Code.UNAVAILABLE,
                "The bodies of the requests that are being sent or answered take all of the memory that there is for "
                "them; try again later",
            )
        self._free -= size
        held.append(size)

    def give_back(self, held: list[int]) -> None:
        """Frees a body's share."""
        self._free += sum(held)
        held.clear()
