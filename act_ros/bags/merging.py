"""Streams of messages as one, in the order of time."""

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from math import inf
from operator import itemgetter

from act_ros.bags.storage import RawMessage


def merged(streams: Iterable[tuple[int, Iterator[RawMessage]]]) -> Iterator[RawMessage]:
    """Messages of several streams in the order of their receipts.

    A stream is begun when its first message may be due: of those that follow each other one at
    a time is in memory. Of messages with the same receipt an earlier stream's come first.

    :param streams: each with a receipt that none of its messages is before [ns], and in the
        order of its receipts.
    """
    numbered = [(begin, number, stream) for number, (begin, stream) in enumerate(streams)]
    waiting = deque(sorted(numbered, key=itemgetter(0, 1)))
    running: list[tuple[int, int, RawMessage, Iterator[RawMessage]]] = []
    while waiting or running:
        if waiting and (not running or waiting[0][0] <= running[0][0]):
            _, number, stream = waiting.popleft()
        else:
            _, number, message, stream = heappop(running)
            yield message
        until = min(running[0][0] if running else inf, waiting[0][0] if waiting else inf)
        for message in stream:
            if message[1] >= until:
                heappush(running, (message[1], number, message, stream))
                break
            yield message
