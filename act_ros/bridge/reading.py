"""From messages to requests, each connection's in their order."""

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from act_ros.bridge.events import Message
from act_ros.bridge.requests import Request, RequestError, parse

# Longer ones are read beside the network's thread: the worst of 64 MiB takes half a second, for
# which its sender waits, and nobody else. One as long as this takes 30 ms at most.
LONG = 4 * 2**20

Read = tuple[Message, Request | RequestError]


class Reading:
    """Reads requests. All of it is for one thread, which never waits.

    :param wake: called from another thread when there is something to `take`.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._messages: dict[int, deque[Message]] = {}  # by connection; the first is being read
        self._read: deque[Read] = deque()
        self._long: SimpleQueue[Message | None] = SimpleQueue()
        threading.Thread(target=self._read_long, name='zmq reader', daemon=True).start()

    def add(self, message: Message) -> None:
        """Read a message, once those before it from the same connection are."""
        messages = self._messages.setdefault(message.peer, deque())
        messages.append(message)
        if len(messages) == 1:
            self._begin(message)

    def take(self) -> list[Read]:
        """What has been read since the last call."""
        done = []
        while self._read:
            message, request = self._read.popleft()
            done.append((message, request))
            messages = self._messages[message.peer]
            messages.popleft()
            if messages:
                self._begin(messages[0])
            else:
                del self._messages[message.peer]
        return done

    def close(self) -> None:
        """Read no more."""
        self._long.put(None)

    def _begin(self, message: Message) -> None:
        if len(message.frames[-1]) > LONG:
            self._long.put(message)
        else:
            self._read.append((message, _parse(message)))

    def _read_long(self) -> None:
        while (message := self._long.get()) is not None:
            self._read.append((message, _parse(message)))
            del message  # it need not stay until the next one
            self._wake()


def _parse(message: Message) -> Request | RequestError:
    try:
        return parse(message.frames[-1])
    except RequestError as error:
        return error.with_traceback(None)  # which has the message
