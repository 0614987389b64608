"""`python -m act_ros.test_zmq_client`: talk to a running server and print what it says."""

import argparse
import sys

import numpy as np

from act_ros import cli
from act_ros.bridge.client import PolicyClient
from act_ros.config import DEFAULT_TASK, load_task


def main(argv: list[str] | None = None) -> int:
    """Run the three tests and return the exit code."""
    parser = argparse.ArgumentParser(
        prog='test_zmq_client', description='Try the three requests of the ZMQ protocol.'
    )
    parser.add_argument('--endpoint', default='tcp://localhost:5555', help='of the server')
    parser.add_argument('--task', default=DEFAULT_TASK, help='name or YAML: what to send')
    parser.add_argument('--image-size', type=int, nargs=2, metavar=('H', 'W'), help='[px]')
    parser.add_argument('--timeout', type=float, default=10.0, help='for each answer [s]')
    arguments = parser.parse_args(argv)
    return cli.run('test_zmq_client', lambda: talk(arguments))


def talk(arguments: argparse.Namespace) -> None:
    """Reset, ask for one action, reset again."""
    task = load_task(arguments.task)
    size = tuple(arguments.image_size or task.image_size)
    rng = np.random.default_rng(0)
    qpos = rng.normal(size=task.state_dim).astype(np.float32)
    images = {
        name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name in task.cameras
    }
    with PolicyClient(arguments.endpoint, timeout=arguments.timeout) as client:
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
