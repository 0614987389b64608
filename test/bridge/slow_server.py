"""The inference server with a policy that takes longer than anyone waits for it to stop.

Argument: what is slow, `load`, `warm-up` or `pass`; says on stderr when it has begun. With
`nothing` nothing is, and with `bug` the load fails in a way that nobody expects.
"""

import sys
import time
from types import SimpleNamespace

from act_ros import inference_server, policy

SLOW = 30.0  # [s]
what = sys.argv[1]


def begin(stage: str) -> None:
    if stage == what:
        print(f'in the {stage}', file=sys.stderr, flush=True)
        time.sleep(SLOW)


def load_policy(*_: object, **__: object) -> SimpleNamespace:
    begin('load')
    if what == 'bug':
        raise ZeroDivisionError
    return SimpleNamespace(task=SimpleNamespace(name='slow'), warm_up=lambda: begin('warm-up'))


class Rollout:
    def __init__(self, *_: object) -> None:
        pass

    def reset(self) -> None:
        begin('pass')

    def act(self, *_: object) -> None:
        begin('pass')


policy.load_policy, policy.Rollout = load_policy, Rollout
sys.exit(inference_server.main(['--endpoint', 'tcp://127.0.0.1:*']))
