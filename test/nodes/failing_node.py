"""The ACT node with a control tick that fails as a file says."""

import os
import sys
import threading
import time
from pathlib import Path

from act_ros.nodes import ticker
from act_ros.nodes.act_node import ActNode
from act_ros.nodes.exit import run_node
from act_ros.nodes.logs import log_to_ros
from act_ros.nodes.wiring import Wiring
from act_ros.observation import ObservationStore

FAULT = Path(os.environ['FAULT'])


def fault(*kinds: str) -> str:
    """The fault of now, in the control tick alone, where it is one of these."""
    if threading.current_thread().name != 'control_tick' or not FAULT.exists():
        return ''
    kind = FAULT.read_text()
    return kind if kind in kinds else ''


def measured(self, now, measured=ObservationStore.measured):
    kind = fault('raise', 'once', 'exit', 'stuck')
    if kind in ('once', 'stuck'):
        FAULT.unlink()
    if kind in ('raise', 'once'):
        raise KeyError('left_joint_3')
    if kind == 'exit':
        raise SystemExit
    if kind == 'stuck':
        time.sleep(1.5)
    return measured(self, now)


def send(self, *args, send=Wiring.send):
    if fault('publish'):
        raise RuntimeError('publisher is gone')
    return send(self, *args)


def end_thread(undisturbed=ticker.undisturbed):
    if fault('dead'):
        raise SystemExit
    return undisturbed()


if __name__ == '__main__':
    ObservationStore.measured = measured
    Wiring.send = send
    ticker.undisturbed = end_thread
    log_to_ros()
    sys.exit(run_node(ActNode, ActNode.halt))
