"""`web_status`: a page that shows how a node and its robot are doing, for whoever is beside it.

    web_status [--port P] [--host H] [--insecure] [--ros-args ...]

The ROS arguments are the ACT node's: its parameter files, and its namespace.
"""

import argparse
import importlib.util
import sys

from act_ros import cli

PROGRAM = 'web_status'


def parse_arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line, without what is ROS's."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Show on a page how a node and its robot are doing. It listens only. '
                    'Behind --ros-args stand the parameter files and the namespace of the node.',
    )  # fmt: skip
    parser.add_argument('--port', type=int, default=8088, help='(default: %(default)s)')
    parser.add_argument('--host', default='127.0.0.1', help='address (default: %(default)s)')
    parser.add_argument('--insecure', action='store_true',
                        help='beyond this machine: whoever can reach it sees the cameras')
    return parser.parse_args(words)  # fmt: skip


def watch(arguments: argparse.Namespace, ros_arguments: list[str]) -> None:
    """Serve the page until a signal."""
    from act_ros.errors import ParameterError

    if importlib.util.find_spec('aiohttp') is None:
        raise ParameterError("web_status needs aiohttp: pip install 'act_ros[web]', or aiohttp")
    if not 0 < arguments.port < 65536:
        raise ParameterError(f'--port is {arguments.port}, expected 1 to 65535')
    from act_ros.nodes.status_watch import listening
    from act_ros.web.serving import serve

    with listening(ros_arguments) as watched:
        serve(watched, arguments.host, arguments.port, insecure=arguments.insecure)


def main() -> int:
    """Serve, and return the exit code: 0 at Ctrl-C, 2 for a mistake."""
    words = sys.argv[1:]
    at = words.index('--ros-args') if '--ros-args' in words else len(words)
    arguments = parse_arguments(words[:at])
    cli.exit_at_once()
    cli.require_ros(PROGRAM)
    return cli.run(PROGRAM, lambda: watch(arguments, words[at:]))


if __name__ == '__main__':
    sys.exit(main())
