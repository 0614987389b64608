"""`python -m act_ros.test_zmq_client`: talk to a running server and print what it says."""

import argparse
import json
import sys

import numpy as np

from act_ros import cli
from act_ros.bridge.client import PolicyClient
from act_ros.config import DEFAULT_TASK, load_task
from act_ros.errors import ActError


def main(argv: list[str] | None = None) -> int:
    """Run the three tests and return the exit code."""
    parser = argparse.ArgumentParser(
        prog='test_zmq_client', description='Try the three requests of the ZMQ protocol.'
    )
    parser.add_argument('--endpoint', default='tcp://localhost:5555', help='of the server')
    parser.add_argument('--task', default=DEFAULT_TASK, help='name or YAML: what to send')
    parser.add_argument('--image-size', type=int, nargs=2, metavar=('H', 'W'), help='[px]')
    parser.add_argument('--timeout', type=float, default=10.0, help='for each answer [s]')
    parser.add_argument(
        '--curve-dir', default='', metavar='DIR', help='with the keys of a client and server.key'
    )
    parser.add_argument(
        '--health', action='store_true',
        help='disturb no episode: print how the server is doing, and fail unless it is ready',
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    return cli.run('test_zmq_client', lambda: connect(arguments))


def connect(arguments: argparse.Namespace) -> None:
    """Do what the arguments ask for."""
    client = PolicyClient(
        arguments.endpoint, timeout=arguments.timeout, curve_dir=arguments.curve_dir
    )
    with client:
        if arguments.health:
            tell_health(client)
        else:
            talk(client, arguments)


def tell_health(client: PolicyClient) -> None:
    """Print what the server says of itself, as JSON.

    :raises ActError: it is not ready.
    """
    health = client.health()
    print(json.dumps(health))
    if health['state'] != 'ready':
        raise ActError(f'{client.endpoint} is {health["state"]}')


def talk(client: PolicyClient, arguments: argparse.Namespace) -> None:
    """Reset, ask for one action, reset again."""
    task = load_task(arguments.task)
    rng = np.random.default_rng(0)
    qpos = rng.normal(size=task.state_dim).astype(np.float32)
    images = {
        name: rng.integers(0, 256, (*(arguments.image_size or size), 3), dtype=np.uint8)
        for name, size in task.image_sizes.items()
    }
    reply = client.call('RESET')
    print(f'Connected to ACT inference server on port {arguments.endpoint.split(":")[-1]}')
    print(f'\n--- Test 1: RESET ---\nResponse: {reply}')

    print('\n--- Test 2: Inference ---')
    print(f'Sending qpos shape: {qpos.shape}')
    print(f'Sending images: {list(images)}')
    action = client.act(qpos, images)
    print('Response status: OK')
    print(f'Action shape: {action.shape}')
    print(f'Action: {np.array2string(action, max_line_width=10_000)}')

    print(f'\n--- Test 3: RESET again ---\nResponse: {client.call("RESET")}')
    print('\n✓ All tests completed!')


if __name__ == '__main__':
    sys.exit(main())
