"""Jitter of the commands while the network saturates the CPU.

The ACT node runs at 50 Hz with a network of the deployed size on all cores. A process beside it
publishes what a robot does: three 480x640 cameras at 30 Hz, arm and base joint states at 200 Hz.
All of it goes over DDS, on this machine only and in a ROS domain that nobody else is in. The
measurement begins when commands have come for 5 s.

  ticks_missed     places on the grid (of 20 ms, or of --command-rate) with no command, or with
                   a second one
  jitter_*_ms      a command's header stamp, made just before it is published, against its place
                   on the grid; the grid lies where the earliest commands come, so this is how
                   late commands are; after a missed tick, the next command is late by the gap
  command_rate_hz  mean rate of the commands
  cpu_percent      of the node and the process of its network; 100 = one core
  rss_growth_mb    growth of their resident memory: the least of the first 5 s against the least
                   of the last 5 s, since what a forward pass uses comes and goes
  realtime         whether a thread of the node really has a real-time priority
  seconds          length of the measurement
  inferences       forward passes during it
  node_overruns    ticks left out by the node's own count; should agree with ticks_missed
  zmq_requests     with --zmq-load: requests to the node's ZMQ endpoint that it read and refused

Other programs on the machine count as jitter: measure while nothing else runs.
"""

import sys

from act_ros import cli
from act_ros.nodes.isolation import own_graph
from benchmarks.table import command_line, show

QUICK = 4.0  # [s]; on a busy machine a forward pass takes more than one


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    cli.exit_at_once()  # importing torch takes seconds, and Ctrl-C must end that, too
    parser = command_line('control_loop', __doc__)
    parser.add_argument(
        '--seconds', type=float, default=60.0, help='length of the measurement (default: 60)'
    )
    parser.add_argument(
        '--realtime-priority', type=int, metavar='N',
        help="the node's realtime_priority: a SCHED_FIFO priority to ask for",
    )  # fmt: skip
    parser.add_argument(
        '--command-rate', type=float, default=0.0, metavar='HZ',
        help="the node's command_rate, a multiple of 50 (default: 0, the policy's rate)",
    )  # fmt: skip
    parser.add_argument(
        '--zmq-load', action='store_true',
        help="set the node's zmq_endpoint, and send it requests of 60 MB without a pause",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.seconds = QUICK
    elif not 10.0 <= arguments.seconds <= 86400.0:
        parser.error(f'--seconds is {arguments.seconds:g}, expected 10 to 86400')
    cli.require_ros('control_loop')
    cli.interrupt_on_signals()

    def work() -> None:
        with own_graph('benchmark') as graph:
            from benchmarks.control_run import measure

            figures = measure(
                graph, arguments.seconds, arguments.realtime_priority, arguments.command_rate,
                arguments.zmq_load,
            )  # fmt: skip
        show('control loop', figures, arguments.json)

    return cli.run('control_loop', work)


if __name__ == '__main__':
    sys.exit(main())
