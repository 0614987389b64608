"""The inference server with a policy that takes longer than anyone waits for it to stop.

Argument: what is slow, `load`, `warm-up` or `pass`; says on stderr when it has begun. With
`nothing` nothing is, and with `bug` the load fails in a way that nobody expects.
"""

import sys
import time
from dataclasses import replace

import numpy as np

from act_ros import inference_server, policy
from test.bridge.servers import tiny_task

SLOW = 30.0  # [s]
what = sys.argv[1]


def begin(stage: str) -> None:
    if stage == what:
        print(f'in the {stage}', file=sys.stderr, flush=True)
        time.sleep(SLOW)


class Slow:
    chunk_size = 1
    task = replace(tiny_task(), name='slow')

    def warm_up(self) -> None:
        begin('warm-up')

    def predict(self, *_: object) -> np.ndarray:
        begin('pass')
        return np.zeros((1, 1))


def load_policy(*_: object, **__: object) -> Slow:
    begin('load')
    if what == 'bug':
        raise ZeroDivisionError
    return Slow()


policy.load_policy = load_policy
sys.exit(inference_server.main(['--endpoint', 'tcp://127.0.0.1:*']))
