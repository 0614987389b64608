"""What the processes of clients do. They import no torch."""

import contextlib
import os
import pickle
import random
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path

import numpy as np

from act_ros.bridge import zmtp
from act_ros.bridge.client import PolicyClient, ServerError
from test.bridge.attacks import ATTACKS
from test.bridge.servers import PATIENCE, Requester, good_request

TOLERANCE = 1e-5  # what may come of going through the network together with others


class Episodes:
    """What clients see at each step, and the actions that the policy gives for it alone.

    :param file: an .npz with the arrays `qpos` (episode, step, entry), `actions` likewise,
        `noise` (camera, row, column, channel) that frames are cut from, and `cameras`.
    """

    def __init__(self, file: Path) -> None:
        with np.load(file) as arrays:
            self._qpos, self._noise = arrays['qpos'], arrays['noise']
            self.actions = arrays['actions']
            self._cameras = [*map(str, arrays['cameras'])]
        self._height = self._noise.shape[1] // 2

    def seen(self, episode: int, step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        top = (7 * episode + 3 * step) % self._height
        frames = np.ascontiguousarray(self._noise[:, top : top + self._height])
        return self._qpos[episode, step], dict(zip(self._cameras, frames, strict=True))


# --- the crowd


def attend(endpoint: str, file: Path, number: int, end: tuple[int, float] | None) -> None:
    """Ask for a whole episode, and check each action.

    :param number: of the client: whether it speaks the documented protocol, and its episode.
    :param end: it is killed so many seconds after that step has begun; None = it survives.
    """
    episodes = Episodes(file)
    episode = number % len(episodes.actions)
    session = '' if number % 2 == 0 else f'client {number}'
    with PolicyClient(endpoint, timeout=PATIENCE, session=session) as client:
        client.reset()
        for step, expected in enumerate(episodes.actions[episode]):
            if end is not None and step == end[0]:
                threading.Timer(end[1], os.kill, (os.getpid(), signal.SIGKILL)).start()
            action = client.act(*episodes.seen(episode, step))
            off = np.abs(action - expected).max()
            assert off < TOLERANCE, f'client {number}, step {step}: off by {off:g}'
        if end is not None:
            signal.pause()  # it was faster


# --- the soak


@dataclass(frozen=True)
class Gate:
    """Lets clients work, and tells when all of them rest.

    :ivar open: they may work.
    :ivar resting: one count for each that does not.
    :ivar over: they shall end.
    """

    open: Event
    resting: Semaphore
    over: Event

    def turns(self) -> Iterator[None]:
        """Yields for each piece of work that there is to do."""
        while not self.over.is_set():
            if not self.open.is_set():
                self.resting.release()
                self.open.wait()
                continue
            yield


Work = Callable[[str, Episodes, random.Random], None]


def work(kind: str, endpoint: str, file: Path, gate: Gate, seed: int) -> None:
    """One kind of traffic until it is over."""
    episodes, rng = Episodes(file), random.Random(seed)
    for _ in gate.turns():
        WORK[kind](endpoint, episodes, rng)


def ask_as_documented(endpoint: str, episodes: Episodes, rng: random.Random) -> None:
    """Some steps over a connection, now and then wrong ones; it may leave before an answer."""
    with Requester(endpoint) as client:
        for step in range(rng.randint(0, 30)):
            qpos, images = episodes.seen(0, step % 10)
            action = client.act((qpos, images))
            if step < 10:
                assert np.abs(action - episodes.actions[0, step]).max() < TOLERANCE, step
            if rng.random() < 0.1:
                client.refused(good_request(qpos[:3], images))
        client.reset()
        if rng.random() < 0.3:
            client.socket.send(good_request(*episodes.seen(0, 0)))


def ask_in_a_session(endpoint: str, episodes: Episodes, rng: random.Random) -> None:
    """Some steps and chunks in a session that is then left alone; what the server says of it."""
    name, quality = f'session {rng.random()}', rng.choice((0, 80))
    with PolicyClient(endpoint, timeout=PATIENCE, session=name, jpeg_quality=quality) as client:
        with contextlib.suppress(ServerError):
            client.act(*episodes.seen(1, 0))  # no such session
            raise AssertionError('a session that was never begun')
        client.reset()
        for step in range(rng.randint(1, 10)):
            client.act(*episodes.seen(1, step))
            client.chunk(*episodes.seen(2, step))
        client.info()
        client.health()


def attack(endpoint: str, episodes: Episodes, rng: random.Random) -> None:
    """Any of the hostile messages."""
    with Requester(endpoint) as client:
        client.refused(*ATTACKS[rng.choice([*ATTACKS])]())
        client.reset()


def be_rude(endpoint: str, episodes: Episodes, rng: random.Random) -> None:
    """Connections that are silent, cut off in the middle, reset, or no ZMTP at all."""
    host, port = endpoint.removeprefix('tcp://').split(':')
    ready = b'\x05READY' + zmtp.metadata(Socket_Type=b'REQ')
    whole = zmtp.greeting(b'NULL') + bytes((zmtp.COMMAND, len(ready))) + ready + b'\x01\x00'
    whole += struct.pack('>BQ', zmtp.LONG, 300_000) + pickle.dumps('RESET' * 60_000)[:299_000]
    with contextlib.ExitStack() as stack, contextlib.suppress(ConnectionError):
        for _ in range(rng.randint(1, 20)):
            peer = stack.enter_context(socket.create_connection((host, int(port))))
            peer.sendall(rng.choice((whole[: rng.randrange(200)], whole, rng.randbytes(2000))))
            if rng.random() < 0.5:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


WORK: dict[str, Work] = {
    'documented': ask_as_documented,
    'session': ask_in_a_session,
    'hostile': attack,
    'rude': be_rude,
}
