"""`act_node`: the entry point of the ACT node.

Nothing heavy is imported above: loading torch takes seconds, and Ctrl-C must end the process
in that time too.
"""

import sys

from act_ros import cli


def main() -> int:
    """Run the ACT node until a signal."""
    cli.exit_at_once()
    cli.require_ros('act_node')
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
