"""The command line: see the package."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from act_ros import cli
from benchmarks.table import command_line, show
from test import endurance
from test.bridge.servers import ServerProcess
from test.endurance import crowd, soak

EPISODES = 5
SIZE = {'clients': 50, 'requests': 200, 'rests': 11}
QUICK = {'clients': 9, 'requests': 12, 'rests': 2}
QUICK_SECONDS = 2.0
# Bytes. Of what is freed glibc keeps some for the next time, up to 64 MB a thread, and now more,
# now less of it. Here it gives larger parts back at once, so that what is left is what is in use.
KEPT = '65536'


def main(argv: list[str] | None = None) -> int:
    """Run it and return the exit code."""
    parser = command_line('endurance', endurance.__doc__)
    parser.prog = 'python -m test.endurance'
    parser.add_argument('--seconds', type=float, default=600.0, help='of the soak (default: 600)')
    arguments = parser.parse_args(argv)
    # Many processes on few cores: one thread each.
    os.environ |= {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    os.environ |= dict.fromkeys(('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'), KEPT)
    seconds = QUICK_SECONDS if arguments.quick else arguments.seconds

    def run() -> None:
        size = QUICK if arguments.quick else SIZE
        show('endurance', measure(seconds, **size), arguments.json)

    return cli.run('endurance', run)


def measure(seconds: float, clients: int, requests: int, rests: int) -> Mapping[str, float]:
    """Both parts, one after the other, at the same server."""
    from act_ros.sim import DEMONSTRATION

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'episodes.npz'
        write_episodes(file, requests)
        options = ('--session-timeout', soak.SESSION_TIMEOUT)
        server = ServerProcess('--ckpt-dir', DEMONSTRATION, *options)
        try:
            figures = crowd.run(server.endpoint, file, clients, requests)
            figures |= soak.run(server.endpoint, server.pid, file, seconds, rests)
        finally:
            server.close()
    return figures


def write_episodes(file: Path, steps: int) -> None:
    """Observations, and what the demonstration's policy does alone: see `Episodes`."""
    import torch

    from act_ros.policy import Rollout, load_policy
    from act_ros.sim import DEMONSTRATION
    from test.endurance.clients import Episodes

    torch.set_num_threads(1)
    policy = load_policy(DEMONSTRATION, device='cpu')
    rng, (height, width) = np.random.default_rng(0), policy.task.image_size
    statistics, size = policy.statistics, (EPISODES, steps, policy.task.state_dim)
    qpos = rng.normal(statistics.qpos_mean, statistics.qpos_std, size).astype(np.float32)
    cameras = policy.task.cameras
    noise = rng.integers(0, 256, (len(cameras), 2 * height, width, 3), np.uint8)
    shown = {'qpos': qpos, 'noise': noise, 'cameras': cameras}
    np.savez(file, actions=np.zeros((EPISODES, 0)), **shown)
    episodes = Episodes(file)
    actions = []
    for episode in range(EPISODES):
        rollout = Rollout(policy)
        actions.append([rollout.act(*episodes.seen(episode, step)) for step in range(steps)])
    np.savez(file, actions=np.array(actions), **shown)


if __name__ == '__main__':
    sys.exit(main())
