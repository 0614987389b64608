"""The ACT node with a load and passes that take as long as the environment says."""

import os
import sys
import time

import numpy as np

from act_ros.nodes.act_node import ActNode
from act_ros.nodes.exit import run_node
from act_ros.nodes.logs import log_to_ros
from act_ros.policy import Policy, load_policy
from act_ros.policy.interface import check_finite

LOAD = float(os.environ.get('LOAD_SECONDS', 0))
PASS = float(os.environ.get('PASS_SECONDS', 0))
# Passes before this many are as quick as they are: loading warms up and measures.
QUICK = int(os.environ.get('QUICK_PASSES', 0))
# How many of them are slow, or fail; then all is well again.
SLOW = int(os.environ.get('SLOW_PASSES', 10**9))
FAIL = os.environ.get('FAIL', '')  # 'raise', 'nan', or nothing


def load_slowly(*args: object, **kwargs: object) -> Policy:
    print('loading slowly', flush=True)
    time.sleep(LOAD)
    policy = load_policy(*args, **kwargs)
    predict, passes = policy.predict, 0

    def predict_slowly(*args):
        nonlocal passes
        passes += 1
        if not QUICK < passes <= QUICK + SLOW:
            return predict(*args)
        if FAIL:
            print('failing', flush=True)
        if FAIL == 'raise':
            raise RuntimeError('out of memory')
        if FAIL == 'nan':
            chunk = predict(*args)
            chunk[0, 0] = np.nan
            check_finite(policy.task, chunk)
        print('passing slowly', flush=True)
        time.sleep(PASS)
        return predict(*args)

    policy.predict = predict_slowly
    return policy


if __name__ == '__main__':
    log_to_ros()
    sys.exit(run_node(lambda: ActNode(load='test.nodes.slow_node:load_slowly'), ActNode.halt))
