"""Two machines on one network, as the kernel's network namespaces: an own graph stays on its."""

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from test.waiting import wait_until

HERE, THERE = '10.215.0.1', '10.215.0.2'

ISOLATED = """
import sys
from act_ros.nodes.isolation import own_graph

with own_graph('test') as graph:
    import rclpy

    rclpy.init()
    node = rclpy.create_node('isolated')
    print(graph.domain, flush=True)
    sys.stdin.read()
"""
PLAIN = """
import sys, rclpy

rclpy.init()
node = rclpy.create_node('plain')
sys.stdin.read()
"""
# A robot's node that asks the other machine for its participants; says whom it has found.
ROBOT = """
import rclpy

rclpy.init()
node, seen = rclpy.create_node('robot'), set()
while True:
    for name in set(node.get_node_names()) - seen:
        seen.add(name)
        print(name, flush=True)
    rclpy.spin_once(node, timeout_sec=0.05)
"""


def ip(*words):
    subprocess.run(['ip', *words], check=True, capture_output=True)


@pytest.fixture
def machines():
    """Two namespaces joined by a cable, with a multicast route each."""
    if os.geteuid() != 0 or not all(map(shutil.which, ('ip', 'unshare'))):
        pytest.skip('needs root, ip and unshare')
    names = [f'act_{os.getpid()}_{i}' for i in range(2)]
    made = []
    try:
        for name in names:
            try:
                ip('netns', 'add', name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f'no network namespaces here: {error.stderr.decode().strip()}')
            made.append(name)
        ip('link', 'add', 'cable', 'netns', names[0], 'type', 'veth',
           'peer', 'name', 'cable', 'netns', names[1])  # fmt: skip
        for name, address in zip(names, (HERE, THERE), strict=True):
            ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', 'cable')
            for device in ('lo', 'cable'):
                ip('-n', name, 'link', 'set', device, 'up')
            ip('-n', name, 'route', 'add', 'default', 'dev', 'cable')
        yield names
    finally:
        for name in made:
            ip('netns', 'del', name)


@pytest.fixture
def run_on(machines):
    """Run a program on a machine, with shared memory of its own."""
    processes = []

    def run_on(number, program, **environment):
        ours = ('ROS_', 'FASTDDS_', 'FASTRTPS_')
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        command = ['ip', 'netns', 'exec', machines[number], 'unshare', '-m', 'sh', '-c',
                   'mount -t tmpfs none /dev/shm && exec "$@"', '-']  # fmt: skip
        processes.append(subprocess.Popen(
            [*command, sys.executable, '-c', program], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**kept, **environment},
        ))  # fmt: skip
        return processes[-1]

    yield run_on
    for process in processes:
        process.kill()
        process.communicate()


def test_no_robot_on_another_machine_sees_it(run_on):
    # Whatever the shell says, and whatever the robot asks.
    isolated = run_on(
        0, ISOLATED, ROS_DOMAIN_ID='7', ROS_STATIC_PEERS=THERE, ROS_LOCALHOST_ONLY='0',
        ROS_AUTOMATIC_DISCOVERY_RANGE='SUBNET',
    )  # fmt: skip
    domain = isolated.stdout.readline().strip()
    robot = run_on(1, ROBOT, ROS_DOMAIN_ID=domain, ROS_STATIC_PEERS=HERE)
    seen = []

    def read():
        for line in robot.stdout:
            seen.append(line.strip())

    reader = threading.Thread(target=read)
    reader.start()
    run_on(0, PLAIN, ROS_DOMAIN_ID=domain)
    wait_until(lambda: 'plain' in seen, 30, 'a node that does not keep to its machine')
    end = time.monotonic() + 4  # participants announce themselves each 3 s
    while time.monotonic() < end:
        assert 'isolated' not in seen
        time.sleep(0.05)
    assert isolated.poll() is None
    robot.kill()
    reader.join()
