"""What an attacker's request costs: no time of the control loop's, and no memory for long."""

import pickle

import numpy as np
import pytest

from test.bridge.attacked import Attacked, Notes, attacked
from test.bridge.attacks import ATTACKS, LOOPS, filled, long_array, long_bytes, request, text
from test.bridge.servers import Requester

HOLD = 0.02  # [s] between two ticks of the control loop at 50 Hz
CPU = 3.0  # [s]
SPARE = 60e6  # [bytes]


@pytest.fixture(scope='module')
def server():
    with attacked() as server:
        yield server


@pytest.fixture(scope='module')
def attacker(server):
    with Requester(server.endpoint) as requester:
        yield requester


def attack(server: Attacked, attacker: Requester, frames: list[bytes]) -> Notes:
    """What the message does to the server, which must refuse it."""
    server.notes()
    attacker.refused(*frames)
    attacker.reset()  # by then the message before is gone
    return server.notes()


@pytest.mark.parametrize('make', ATTACKS.values(), ids=ATTACKS)
def test_no_request_holds_the_interpreter_or_takes_much_time_or_memory(server, attacker, make):
    frames = make()
    size = sum(map(len, frames))
    for _ in range(10):  # what another process does to the measurement it does not do each time
        notes = attack(server, attacker, frames)
        if notes.hold < HOLD:
            break
    assert notes.hold < HOLD, notes
    assert notes.cpu < CPU, notes
    assert notes.peak < 2 * size + SPARE, notes


SIZE = 4_000_000
REFUSED = {
    **{name: lambda loop=loop: b'(' + loop + long_array(SIZE) + b'l.'
       for name, loop in LOOPS.items()},
    'a list of itself and an array': lambda: b']q\x00(h\x00' + long_array(SIZE) + b'e.',
    'a request without images': lambda: b'}' + text('qpos') + long_array(SIZE) + b's.',
    'an array as qpos': lambda: request(long_array(SIZE)),
    'a long text': lambda: b'V' + filled(b'a', SIZE) + b'\n.',
    'a text decoded, and then a fault': lambda: (
        b'c_codecs\nencode\nV' + filled(b'a', SIZE) + b'\nVlatin1\n\x86R]b.'
    ),
    'bytes that follow the end': lambda: b'N.' + long_bytes(SIZE),
}  # fmt: skip


def test_no_refused_request_stays_in_memory(server, attacker):
    messages = [make() for make in REFUSED.values()]
    for message in messages * 30:  # until the allocator has what it keeps for the next ones
        attacker.refused(message)
    attacker.reset()
    server.notes()
    for message in messages * 10:
        attacker.refused(message)
    attacker.reset()
    assert len(messages * 10) >= 90
    assert server.notes().left < 10 * SIZE


def test_an_honest_request_is_answered_beside_them(server, attacker):
    images = {
        name: np.zeros((480, 640, 3), np.uint8) for name in ('rgb_main', 'rgb_left', 'rgb_under')
    }
    for protocol in range(6):
        message = pickle.dumps({'qpos': np.zeros(17, np.float32), 'images': images}, protocol)
        server.notes()
        assert attacker.raw(message)['action'].shape == (16,)
        assert server.notes().hold < HOLD
