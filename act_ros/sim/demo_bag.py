"""`python -m act_ros.sim.demo_bag`: a recording of the simulated robot, made without ROS.

The arm follows smooth curves around its home pose, as a person might have led it; cameras,
states and commands are written as a robot would record them. It is the same each time.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from act_ros import cli
from act_ros.errors import BagError, ParameterError
from act_ros.files import whole

OUT = Path('out/demo')
START = 1_700_000_000_000_000_000  # of the recording [ns]
RATES = {'cameras': 30.0, 'states': 100.0, 'commands': 50.0}  # [Hz]
# How far each joint strays from home [rad; 0..1], and how long one sway takes [s].
SWAY = np.array([0.4, 0.3, 0.4, 0.3, 0.5, 0.4, 0.5, 0.3])
PERIOD = np.array([5.0, 6.1, 4.3, 5.7, 3.9, 4.7, 5.3, 4.1])


def led(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the arm is led to: positions and velocities, (8,) each [rad; rad/s]."""
    from act_ros.sim.robot import HOME

    phase = 2 * math.pi * seconds / PERIOD
    return HOME + SWAY * np.sin(phase), SWAY * 2 * math.pi / PERIOD * np.cos(phase)


def messages(seconds: float, image_size: tuple[int, int]) -> Iterator[tuple[int, str, Any]]:
    """What the robot records: receipt [ns since the start], topic, message."""
    from act_ros.bags.typestore import typestore
    from act_ros.config import DEFAULT_TASK, load_task, task_file
    from act_ros.interfaces import camera_inputs, parse_output, state_inputs
    from act_ros.parameter_file import read_parameter_file
    from act_ros.sim.renderer import Renderer
    from act_ros.sim.robot import SimulatedRobot
    from act_ros.sim.scene import default_cameras

    task, settings = load_task(), read_parameter_file(task_file(DEFAULT_TASK))
    kinds, none = typestore().types, np.empty(0)
    robot = SimulatedRobot(task.joints)
    topics = camera_inputs(settings, task)
    views = {
        '/' + topics[name][0]: Renderer(camera, *image_size)
        for name, camera in default_cameras(task.cameras).items()
    }
    (base, _), (arm, _) = state_inputs(settings, task).values()
    command = parse_output(settings.outputs[0], task).topic
    height, width = image_size

    def header(receipt: int) -> Any:
        time = kinds['builtin_interfaces/msg/Time'](*divmod(START + receipt, 1_000_000_000))
        return kinds['std_msgs/msg/Header'](time, '')

    def joints(receipt: int, names: list[str], position: np.ndarray, speed: np.ndarray) -> Any:
        return kinds['sensor_msgs/msg/JointState'](header(receipt), names, position, speed, none)

    periods = {'/' + command: RATES['commands'], '/' + base: RATES['states'],
               '/' + arm: RATES['states'], **dict.fromkeys(views, RATES['cameras'])}  # fmt: skip
    # The cameras one after the other; a command comes before the state that it leads to.
    due = {topic: round(i * 1e9 / RATES['cameras'] / len(views)) for i, topic in enumerate(views)}
    due = {**dict.fromkeys(periods, 0), **due}
    while True:
        topic = min(due, key=due.__getitem__)
        receipt = due[topic]
        if receipt >= seconds * 1e9:
            return
        due[topic] = receipt + round(1e9 / periods[topic])
        now = receipt / 1e9
        robot.advance(now)
        if topic == '/' + command:
            robot.command(now, *led(now))
            yield receipt, topic, joints(receipt, list(task.joints), *led(now))
        elif topic == '/' + arm:
            yield receipt, topic, joints(
                receipt, list(task.joints), robot.positions, robot.velocities
            )
        elif topic == '/' + base:
            yield receipt, topic, joints(
                receipt,
                ['x', 'y', 'z', 'roll', 'pitch', 'yaw'],
                np.concatenate((robot.base_position, robot.base_orientation)),
                np.concatenate((robot.base_linear_velocity, robot.base_angular_velocity)),
            )
        else:
            pixels = views[topic].render(robot)
            yield receipt, topic, kinds['sensor_msgs/msg/Image'](
                header(receipt), height, width, 'rgb8', 0, 3 * width, pixels.reshape(-1)
            )


def write_demo_bag(path: Path, seconds: float, image_size: tuple[int, int] = (480, 640)) -> Path:
    """Write the recording as an MCAP bag, in place of a former one.

    :raises ParameterError: something else is there.
    """
    from act_ros.bags.writing import write_bag

    former = _former(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        write_bag(
            part, ((t, START + receipt, m) for receipt, t, m in messages(seconds, image_size))
        )
        for file in former:
            file.unlink()
    return path


def _former(path: Path) -> list[Path]:
    """The files of a recording that was written here before.

    :raises ParameterError: something else is there.
    """
    from act_ros.bags.bag import Bag

    files = [path / f'{path.name}.mcap', path / 'metadata.yaml']
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return []
    try:
        with Bag(path) as bag:
            is_former = set(path.iterdir()) == set(files) and bag.start == START
    except BagError:
        is_former = False
    if not is_former:
        raise ParameterError(f'{path} is no demonstration bag, and stays; give another --out')
    return files


def main(argv: list[str] | None = None) -> int:
    """Write the recording and the demonstration checkpoint."""
    parser = argparse.ArgumentParser(prog='demo_bag', description=__doc__.split('\n')[0])
    parser.add_argument(
        '--out', type=Path, metavar='DIR',
        help=f'a new folder for both (default: {OUT}, made anew)',
    )  # fmt: skip
    parser.add_argument('--seconds', type=float, default=10.0, help='of the recording')
    arguments = parser.parse_args(argv)
    if not 0.1 <= arguments.seconds <= 3600:
        parser.error(f'--seconds is {arguments.seconds:g}, expected 0.1 to 3600')

    def work() -> None:
        from act_ros.config import load_task
        from act_ros.sim.demo_checkpoint import write_demo_checkpoint

        out = arguments.out or OUT
        if arguments.out is not None and out.exists():
            raise ParameterError(f'{out} exists, and what is in it stays; give another --out')
        checkpoint = write_demo_checkpoint(out / 'ckpt', load_task())
        print(write_demo_bag(out / 'bag', arguments.seconds))
        print(checkpoint)

    return cli.run('demo_bag', work)


if __name__ == '__main__':
    sys.exit(main())
