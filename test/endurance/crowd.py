"""A crowd of clients, of which a third is killed."""

import random
import signal
import time
from pathlib import Path

from test.bridge.servers import PATIENCE
from test.endurance.clients import attend
from test.endurance.processes import CONTEXT

MOST_DELAY = 0.1  # [s] from the beginning of a step; its answer comes before or after


def run(endpoint: str, file: Path, clients: int, requests: int) -> dict[str, float]:
    """Figures of a crowd; who survives with a wrong action says so on stderr."""
    rng = random.Random(0)
    ends = {i: (rng.randrange(requests // 4, requests), rng.uniform(0, MOST_DELAY))
            for i in rng.sample(range(clients), clients // 3)}  # fmt: skip
    processes = [
        CONTEXT.Process(target=attend, args=(endpoint, file, i, ends.get(i)), daemon=True)
        for i in range(clients)
    ]
    started = time.monotonic()
    for process in processes:
        process.start()
    for process in processes:
        process.join(requests * clients + PATIENCE)
    took = time.monotonic() - started
    codes = [process.exitcode for process in processes]
    killed = [i for i, code in enumerate(codes) if code == -signal.SIGKILL]
    assert killed == sorted(ends), codes
    asked = sum(ends[i][0] if i in ends else requests for i in range(clients))
    return {
        'crowd_clients': clients,
        'crowd_survivors': clients - len(ends),
        'crowd_right': codes.count(0),
        'crowd_per_s': round(asked / took, 1),
    }
