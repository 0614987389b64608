"""Everything at once, for as long as is wanted, and what it does to the server's memory."""

import os
import time
from pathlib import Path

from act_ros.bridge.client import PolicyClient
from test.bridge.servers import PATIENCE
from test.endurance.clients import Gate, work
from test.endurance.processes import CONTEXT
from test.waiting import wait_until

CLIENTS = ('documented', 'documented', 'session', 'session', 'hostile', 'rude')
SESSION_TIMEOUT = 2.0  # [s], of the server


def run(endpoint: str, pid: int, file: Path, seconds: float, rests: int) -> dict[str, float]:
    """Figures of a soak.

    :param pid: of the server.
    :param seconds: between the first rest and the last; the warm-up before takes as long as one
        of the parts.
    :param rests: the first one included.
    """
    gate = Gate(CONTEXT.Event(), CONTEXT.Semaphore(0), CONTEXT.Event())
    processes = [
        CONTEXT.Process(target=work, args=(kind, endpoint, file, gate, i), daemon=True)
        for i, kind in enumerate(CLIENTS)
    ]
    for process in processes:
        process.start()
    memory = []
    part = seconds / (rests - 1)
    with PolicyClient(endpoint, timeout=PATIENCE) as client:
        before = client.health()
        for _ in range(rests):
            gate.open.set()
            deadline = time.monotonic() + part
            while time.monotonic() < deadline:
                time.sleep(min(0.2, part))
                ended = [p.exitcode for p in processes if not p.is_alive()]
                assert not ended, f'a client has ended, see above: {ended}'
            gate.open.clear()
            for _ in processes:
                assert gate.resting.acquire(timeout=PATIENCE), 'a client does not come to an end'
            wait_until(lambda: is_idle(client.health()), PATIENCE, 'the server is idle')
            memory.append(resident(pid))
            print(f'{memory[-1] / 1e6:.1f} MB', flush=True)
        after = client.health()
    gate.over.set()
    gate.open.set()
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0, process.exitcode
    answered, right = (
        sum(after['requests'].values()) - sum(before['requests'].values()),
        after['requests']['ok'] - before['requests'].get('ok', 0),
    )
    return {
        'soak_s': seconds + part,
        'soak_requests': answered,
        'soak_errors': answered - right,
        'soak_connections': after['accepted'] - before['accepted'],
        'soak_sessions_left': after['sessions'],
        'rss_mb': round(memory[0] / 1e6, 1),
        'rss_growth_mb': round((memory[-1] - memory[0]) / 1e6, 2),
        'rss_spread_mb': round((max(memory) - min(memory)) / 1e6, 2),
    }


def is_idle(health: dict) -> bool:
    """Nothing is left to do, nobody is there but who asks, and all sessions have ended."""
    return health['connections'] == 1 and not health['sessions'] and not health['waiting']


def resident(pid: int) -> int:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGESIZE')
