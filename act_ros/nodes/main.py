"""`act_node`: the entry point of the ACT node.

Only the standard library is imported above: loading torch takes seconds, and Ctrl-C must end
the process in that time too.
"""

import os
import signal
import sys


def exit_at_once() -> None:
    """Until there is something to tear down, SIGINT and SIGTERM just end the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))


def main() -> int:
    """Run the ACT node until a signal."""
    exit_at_once()
    from act_ros.nodes.act_node import ActNode
    from act_ros.nodes.dds import use_profile
    from act_ros.nodes.exit import run_node
    from act_ros.nodes.logs import log_to_ros

    # Threads that compute hand the interpreter over sooner: half the jitter of the tick.
    sys.setswitchinterval(0.0005)
    use_profile()
    log_to_ros()
    return run_node(ActNode, ActNode.halt)


if __name__ == '__main__':
    sys.exit(main())
