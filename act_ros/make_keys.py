"""`python -m act_ros.make_keys`: CURVE keys for the ZMQ server and its clients. No ROS needed."""

import argparse
import sys
from pathlib import Path

from act_ros import cli

PROGRAM = 'make_keys'


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Make the CURVE keys of a ZMQ server, and of the clients that it lets in.',
        epilog='A client needs its own .key_secret, moved there, and a copy of server.key.',
    )
    parser.add_argument('folder', type=Path, metavar='DIR', help="the server's folder of keys")
    parser.add_argument(
        '--client', action='append', default=[], metavar='NAME', dest='clients',
        help="make a client's keys too; several times for several clients",
    )  # fmt: skip
    return parser.parse_args(argv)


def run(folder: Path, clients: list[str]) -> None:
    """Make what is missing of a server's keys, and the clients' keys."""
    from act_ros.bridge import keys

    made = [] if (folder / 'server.key_secret').exists() and clients else keys.make_server(folder)
    for client in clients:
        made += keys.make_client(folder, client)
    for path in made:
        print(path)


def main(argv: list[str] | None = None) -> int:
    """Make keys and return the exit code."""
    arguments = parse_arguments(argv)
    return cli.run(PROGRAM, lambda: run(arguments.folder, arguments.clients))


if __name__ == '__main__':
    sys.exit(main())
