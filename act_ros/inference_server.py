"""`python -m act_ros.inference_server`: a policy behind the documented ZMQ protocol, no ROS.

Only what loads at once is imported above: torch takes seconds, and Ctrl-C must end the process
in that time too.
"""

import argparse
import gc
import logging
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from act_ros import cli

if TYPE_CHECKING:
    from act_ros.bridge.server import PolicyServer
    from act_ros.parameters import Settings
    from act_ros.task import Task

log = logging.getLogger(__name__)

PROGRAM = 'inference_server'


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the flags; one that is not given is None, so that a file's value can count."""
    from act_ros.bridge.protocol import DEFAULT_ENDPOINT
    from act_ros.config import TASKS
    from act_ros.parameters import PARAMETERS

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Serve an ACT policy over ZMQ, without ROS.',
        epilog='A flag counts over --config, which counts over the defaults.',
    )

    def default(name: str) -> str:
        return f'{PARAMETERS[name].text} (default: {PARAMETERS[name].default})'

    parser.add_argument('--ckpt-dir', metavar='DIR', help=default('ckpt_dir'))
    parser.add_argument('--ckpt-name', metavar='FILE', help=default('ckpt_name'))
    parser.add_argument(
        '--task', help=f'{", ".join(TASKS)}, or a YAML (default: as the checkpoint says)'
    )
    parser.add_argument(
        '--endpoint', metavar='ADDRESS', help=f'where to listen (default: {DEFAULT_ENDPOINT})'
    )
    parser.add_argument('--device', help=default('device'))
    parser.add_argument('--precision', help=default('precision'))
    parser.add_argument('--engine', help=default('engine'))
    parser.add_argument('--config', metavar='YAML', help="parameter file, as the node's")
    parser.add_argument(
        '--no-temporal-aggregation',
        dest='temporal_aggregation',
        action='store_false',
        default=None,
        help='play one chunk after the other',
    )
    parser.add_argument('--query-every', type=int, metavar='STEPS', help=default('query_every'))
    parser.add_argument('--decay', type=float, help=default('decay'))
    parser.add_argument(
        '--max-sessions', type=int, metavar='N', help=default('zmq_max_sessions')
    )
    parser.add_argument(
        '--session-timeout', type=float, metavar='S', help=default('zmq_session_timeout')
    )
    parser.add_argument('--max-batch', type=int, metavar='N', help=default('zmq_max_batch'))
    parser.add_argument('--curve-dir', metavar='DIR', help=PARAMETERS['zmq_curve_dir'].text)
    parser.add_argument(
        '--metrics-port', type=int, metavar='PORT', help=default('zmq_metrics_port')
    )
    parser.add_argument(
        '--insecure', action='store_true', default=None, help=PARAMETERS['zmq_insecure'].text
    )
    return parser.parse_args(argv)


def resolve(arguments: argparse.Namespace) -> tuple['Settings', 'Task | None']:
    """Settings from flags over file over defaults, and the task if anyone named one.

    :raises ActError: naming the flag's or the file's mistake.
    """
    from act_ros.bridge.protocol import DEFAULT_ENDPOINT
    from act_ros.config import load_task
    from act_ros.parameter_file import read_parameter_file
    from act_ros.parameters import Settings
    from act_ros.task import Task

    settings = read_parameter_file(arguments.config) if arguments.config else Settings()
    flags = {
        'ckpt_dir': arguments.ckpt_dir,
        'ckpt_name': arguments.ckpt_name,
        'device': arguments.device,
        'precision': arguments.precision,
        'engine': arguments.engine,
        'temporal_aggregation': arguments.temporal_aggregation,
        'query_every': arguments.query_every,
        'decay': arguments.decay,
        'zmq_endpoint': arguments.endpoint,
        'zmq_max_sessions': arguments.max_sessions,
        'zmq_session_timeout': arguments.session_timeout,
        'zmq_max_batch': arguments.max_batch,
        'zmq_curve_dir': arguments.curve_dir,
        'zmq_insecure': arguments.insecure,
        'zmq_metrics_port': arguments.metrics_port,
    }
    settings = replace(settings, **{k: v for k, v in flags.items() if v is not None})
    settings = replace(settings, zmq_endpoint=settings.zmq_endpoint or DEFAULT_ENDPOINT)
    if arguments.task:
        return settings, load_task(arguments.task)
    return settings, Task.from_settings(settings) if settings.task_cameras else None


@dataclass
class Service:
    """The server's life: load, warm up, listen, answer until stopped."""

    arguments: argparse.Namespace
    server: 'PolicyServer | None' = None

    def run(self) -> None:
        settings, task = resolve(self.arguments)
        from act_ros.bridge.server import PolicyServer, serve_metrics

        # Before the load, which takes long: who asks meanwhile is told so.
        self.server = PolicyServer(settings.zmq_endpoint, settings)
        log.info('listening on %s, loading', self.server.endpoint)
        serve_metrics(self.server, settings)
        from act_ros.policy import load_policy, set_torch_threads, tell_played
        from act_ros.policy.interface import load_options

        set_torch_threads(settings.torch_threads)
        policy = load_policy(settings.ckpt_dir, task=task, **load_options(settings))
        tell_played(settings, policy)
        policy.warm_up()
        self.server.begin(policy)
        # What is here now stays: no collection shall walk through it between two requests.
        gc.collect()
        gc.freeze()
        log.info('serving %s on %s', policy.task.name, self.server.endpoint)
        self.server.run()
        log.info('stopped')

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code."""
    cli.exit_at_once()
    service = Service(parse_arguments(argv))
    return cli.run_until_signal(PROGRAM, service.run, service.stop)


if __name__ == '__main__':
    sys.exit(main())
