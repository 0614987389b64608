"""What the evaluation of a bag costs beside the network.

A policy that answers at once is evaluated on bags made here, each run in a process of its own.

  overhead_ms     a tick outside the policy: read, decode, assemble, score; on a 20 s bag of three
                  raw 480x640 cameras at 30 Hz, base and arm states at 100 Hz, commands at 50 Hz
  sweep_ms        what four latencies with four fades each add to a tick
  report_s        writing metrics, table, bag and report of that run
  rss_mb          most resident memory of a run over 10 minutes of 48x64 frames at those rates
  rss_growth_mb   that, less the same of a run over 1 minute
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.table import run as run_benchmark

if TYPE_CHECKING:
    from act_ros.policy.interface import BatchPredictor

CAMERA_PERIOD, STATE_PERIOD, COMMAND_PERIOD = 33_333_333, 10_000_000, 20_000_000  # [ns]
START = 1_700_000_000_000_000_000
CHUNK = 100
FRAME, SMALL_FRAME = (480, 640), (48, 64)  # [px]
SWEEP = (0.06, 0.2, 0.5, 1.0)  # [s]
QUICK = {'large': 0.5, 'short': 0.5, 'long': 1.0}


class NullPolicy:
    """Answers with zeros: everything else is what is measured."""

    chunk_size, engine_name = CHUNK, 'torch'

    def __init__(self, task: Any) -> None:
        from act_ros.policy.interface import About, Statistics

        self.task = task
        self.about = About('', '', 'none', 'float32', 'cpu')
        ones = [np.ones(n, np.float32) for n in (task.state_dim,) * 2 + (task.action_dim,) * 2]
        self.statistics = Statistics(*ones)
        self._chunk = np.zeros((CHUNK, task.action_dim), np.float32)

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """Zeros."""
        return self._chunk

    def predict_batch(self, observations: Sequence[Any]) -> np.ndarray:
        """Zeros for each."""
        return np.stack([self._chunk] * len(observations))


def load_null(ckpt_dir: str, *, task: Any, **_: object) -> 'BatchPredictor':
    """Load as `load_policy` does."""
    return NullPolicy(task)


def make_bag(path: Path, seconds: float, size: tuple[int, int]) -> Path:
    """Write what a robot that stands still would record."""
    from act_ros.bags.writing import write_bag

    return write_bag(path, ((t, START + receipt, m) for receipt, t, m in _messages(seconds, size)))


def _messages(seconds: float, size: tuple[int, int]) -> Iterator[tuple[int, str, Any]]:
    from act_ros.bags.typestore import typestore
    from act_ros.config import load_task
    from act_ros.sim.robot import HOME

    task, kinds = load_task(), typestore().types
    noise = np.random.default_rng(0).integers(0, 256, (8, *size, 3), dtype=np.uint8)
    axes, none = ['x', 'y', 'z', 'roll', 'pitch', 'yaw'], np.empty(0)

    def header(receipt: int) -> Any:
        time = kinds['builtin_interfaces/msg/Time'](*divmod(START + receipt, 1_000_000_000))
        return kinds['std_msgs/msg/Header'](time, '')

    def joints(receipt: int, names: list[str], pose: np.ndarray) -> Any:
        return kinds['sensor_msgs/msg/JointState'](
            header(receipt), names, pose, np.zeros(len(names)), none
        )

    def frame(receipt: int, k: int) -> Any:
        return kinds['sensor_msgs/msg/Image'](
            header(receipt), *size, 'rgb8', 0, 3 * size[1], noise[k % 8].reshape(-1)
        )

    end = round(seconds * 1e9)
    due = {f'/{name}/image_raw': (0, CAMERA_PERIOD) for name in task.cameras}
    due |= {'/base/joint_states': (0, STATE_PERIOD), '/arm/joint_states': (0, STATE_PERIOD)}
    due |= {'/arm/joint_commands': (0, COMMAND_PERIOD)}
    while True:
        topic = min(due, key=lambda name: due[name][0])
        receipt, period = due[topic]
        if receipt >= end:
            return
        due[topic] = receipt + period, period
        if topic.endswith('image_raw'):
            yield receipt, topic, frame(receipt, receipt // period)
        elif topic.startswith('/base'):
            yield receipt, topic, joints(receipt, axes, np.zeros(6))
        else:
            yield receipt, topic, joints(receipt, list(task.joints), HOME)


def run(
    bag: Path, size: tuple[int, int], latencies: Sequence[float] = (0.0,)
) -> dict[str, float]:
    """Evaluate a bag in this process."""
    from act_ros.config import DEFAULT_TASK, task_file
    from act_ros.evaluation.report.results import write_results
    from act_ros.evaluation.run.evaluate import carry_out
    from act_ros.evaluation.run.plan import Options, make_plan
    from act_ros.parameter_file import read_parameter_file

    settings = replace(read_parameter_file(task_file(DEFAULT_TASK)), task_image_size=size)
    plan = make_plan(
        [bag], {'null': settings}, options=Options(latencies), load=f'{__name__}:load_null'
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        evaluation = carry_out(plan, Path(folder) / 'out')
        took = time.perf_counter() - started
        (result,) = evaluation.results.values()
        started = time.perf_counter()
        write_results(evaluation, Path(folder) / 'out')
        written = time.perf_counter() - started
    return {
        'overhead_ms': (took - result.durations.sum()) / result.about['looked'] * 1e3,
        'report_s': written,
        'rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def measure(large: float = 20.0, short: float = 60.0, long: float = 600.0) -> dict[str, float]:
    """Make the bags, and evaluate each in a process of its own.

    :param large: length of the bag of full frames [s].
    :param short: of the shorter one of small frames [s].
    :param long: of the longer one [s].
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def alone(
            seconds: float, size: tuple[int, int], latencies: Sequence[float] = (0.0,)
        ) -> dict[str, float]:
            bag = folder / f'{seconds:g} s of {size[0]} px'
            if not bag.exists():
                make_bag(bag, seconds, size)
            call = f'from {__spec__.name} import run; import json, pathlib; '
            call += f'print(json.dumps(run(pathlib.Path({str(bag)!r}), {size}, {latencies})))'
            said = subprocess.run(
                [sys.executable, '-c', call], check=True, stdout=subprocess.PIPE, text=True
            )
            return json.loads(said.stdout.splitlines()[-1])

        full = alone(large, FRAME)
        first, last = alone(short, SMALL_FRAME), alone(long, SMALL_FRAME)
        swept = alone(short, SMALL_FRAME, SWEEP)
    return {
        'overhead_ms': round(full['overhead_ms'], 3),
        'sweep_ms': round(swept['overhead_ms'] - first['overhead_ms'], 3),
        'report_s': round(full['report_s'], 2),
        'rss_mb': round(last['rss_mb'], 1),
        'rss_growth_mb': round(last['rss_mb'] - first['rss_mb'], 1),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    return run_benchmark('evaluation', __doc__, measure, QUICK, argv)


if __name__ == '__main__':
    sys.exit(main())
