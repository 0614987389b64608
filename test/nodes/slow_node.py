"""The ACT node with a load and passes that take as long as the environment says, or fail."""

import os
import sys
import time
from pathlib import Path

import numpy as np

from act_ros.nodes.act_node import ActNode
from act_ros.nodes.exit import run_node
from act_ros.nodes.logs import log_to_ros
from act_ros.policy import Policy, load_policy

LOAD = float(os.environ.get('LOAD_SECONDS', 0))
PASS = float(os.environ.get('PASS_SECONDS', 0))
QUICK = bool(os.environ.get('QUICK'))  # the mean of training instead of a network
FAIL = os.environ.get('FAIL', '')  # 'raise', 'nan', or nothing
# Passes are bad while this file is there; without the variable, always. So a test begins and
# ends the fault itself, however long the node took to get there.
WHILE = os.environ.get('BAD_WHILE', '')


def load_slowly(*args: object, **kwargs: object) -> Policy:
    print('loading slowly', flush=True)
    time.sleep(LOAD)
    policy = load_policy(*args, **kwargs)
    forward = policy.forward
    if QUICK:
        chunk = np.tile(policy.statistics.action_mean, (policy.chunk_size, 1))
        forward = lambda observations, _=None: np.stack([chunk] * len(observations))  # noqa: E731

    def forward_badly(*args):
        if WHILE and not Path(WHILE).exists():
            return forward(*args)
        if FAIL:
            print('failing', flush=True)
        if FAIL == 'raise':
            raise RuntimeError('out of memory')
        if FAIL == 'nan':
            chunks = forward(*args)
            chunks[:, 0, 0] = np.nan
            return chunks
        print('passing slowly', flush=True)
        time.sleep(PASS)
        return forward(*args)

    policy.forward = forward_badly
    return policy


if __name__ == '__main__':
    log_to_ros()
    sys.exit(run_node(lambda: ActNode(load='test.nodes.slow_node:load_slowly'), ActNode.halt))
