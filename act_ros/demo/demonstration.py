"""The demonstration: the simulated robot does its task again and again, as processes over DDS.

Starts the simulated robot and the ACT node, has the arm grasp the handle in one scene after the
other, shows that in a live table, and ends with a summary and a picture. Ctrl-C ends all of it.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from act_ros import cli
from act_ros.child import child, module
from act_ros.config import parameter_files
from act_ros.demo.topics import Topics
from act_ros.errors import ActError, ParameterError
from act_ros.files import whole
from act_ros.nodes.isolation import OwnGraph
from act_ros.parameter_file import read_parameter_file, read_raw_parameters
from act_ros.task import Task

# What is in the folder of a demonstration from its beginning on, and what comes at its end.
BEGINS_WITH = ('act_node.log', 'sim_robot.log', 'parameters.yaml')
ENDS_WITH = ('summary.json', 'demo.png')
FIRST_COMMAND = 120.0  # on a busy machine all may take as long until then [s]
LOOK = 0.05  # so often messages are taken in: seldom, since the cores are busy already [s]
REFRESH = 0.5  # of the table [s]

if TYPE_CHECKING:
    from act_ros.demo.attempts import Attempts
    from act_ros.demo.monitor import Monitor


@dataclass(frozen=True)
class Wish:
    """What is to be shown.

    :ivar ckpt_dir: of the policy.
    :ivar params_file: for both programs; counts over the task's own.
    :ivar seed: of the first scene; the next have the next.
    :ivar seconds: from the first command on.
    :ivar out: folder of the results and logs.
    """

    ckpt_dir: Path
    params_file: Path
    seed: int
    seconds: float
    out: Path


def run(graph: OwnGraph, wish: Wish) -> None:
    """Run for a while and write `summary.json` and `demo.png`.

    Where it is cut short they are of what there was until then.

    :param graph: where the programs meet.
    :raises ActError: one of the programs ended, or does not do what it is asked for.
    """
    files = parameter_files(wish.params_file)
    settings = read_parameter_file(*files)
    task = Task.from_settings(settings)
    topics = Topics.of(settings, task)
    topics.require_states()
    parameters = {
        **read_raw_parameters(*files), 'ckpt_dir': str(wish.ckpt_dir.resolve()),
        'policy_endpoint': '',
        'zmq_endpoint': '',
        'enable_topic': '',  # nobody holds the deadman
        'autostart': False,  # it is told when
    }  # fmt: skip
    out = wish.out
    _take(out)
    arguments = graph.arguments(parameters, out / 'parameters.yaml')
    seeded = [*arguments, '-p', f'seed:={wish.seed}']
    programs = {
        'sim_robot': module('act_ros.demo.sim_robot', *seeded),
        'act_node': module('act_ros.nodes.main', *arguments),
    }
    cut: BaseException | None = None
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(child(command, out / f'{name}.log'))
            for name, command in programs.items()
        }
        # What takes long to import is imported while they start.
        from act_ros.demo import report

        report.begin(graph, wish.ckpt_dir)
        monitor, attempts = stack.enter_context(_watching(task, topics, settings.max_age, graph))
        try:
            _watch(monitor, attempts, processes, wish)
        except (ActError, KeyboardInterrupt) as error:
            if not attempts.seen:
                raise
            cut = error
        cli.end_undisturbed()  # what is left takes seconds, and is what one has waited for
        attempts.keep_report()
    figures = report.summary(monitor, attempts)
    with whole(out / 'summary.json') as part:
        part.write_text(json.dumps(figures, indent=2))
    from act_ros.demo import picture

    picture.draw(monitor, attempts, task, out / 'demo.png')
    report.end(figures, out)
    if cut is not None:
        raise cut


def _take(out: Path) -> None:
    """Take a folder for the results: a new one, or that of a former demonstration.

    :raises ParameterError: something else is there.
    """
    found = [out / name for name in (*BEGINS_WITH, *ENDS_WITH) if (out / name).exists()]
    if found and not all((out / name).exists() for name in BEGINS_WITH):
        raise ParameterError(f'{found[0]} is of something else, and stays; give another --out')
    out.mkdir(parents=True, exist_ok=True)
    for name in BEGINS_WITH:
        (out / name).touch()
    for name in ENDS_WITH:
        (out / name).unlink(missing_ok=True)


def _watch(
    monitor: 'Monitor',
    attempts: 'Attempts',
    processes: dict[str, subprocess.Popen],
    wish: Wish,
) -> None:
    """Make attempts and show them in the live table until time is up."""
    from act_ros.demo.report import LiveTable

    deadline = time.monotonic() + FIRST_COMMAND
    with LiveTable(monitor, attempts, wish.seconds, REFRESH) as table:

        def look() -> None:
            monitor.spin(LOOK)
            for name, process in processes.items():
                if process.poll() is not None:
                    raise ActError(
                        f'{name} ended with code {process.returncode}; see '
                        f'{wish.out / f"{name}.log"}'
                    )
            if not monitor.commands and time.monotonic() > deadline:
                raise ActError(
                    f'no command within {FIRST_COMMAND:g} s; see {wish.out / "act_node.log"}'
                )
            table.refresh()

        for _ in attempts.run():
            look()
            if monitor.elapsed > wish.seconds:
                break
        for _ in attempts.wait_for_report():
            look()


@contextlib.contextmanager
def _watching(
    task: Task, topics: Topics, max_age: float, graph: OwnGraph
) -> Iterator[tuple['Monitor', 'Attempts']]:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from act_ros.demo.attempts import Attempts
    from act_ros.demo.monitor import Monitor

    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    monitor = Monitor(task, topics, graph)
    try:
        yield monitor, Attempts(monitor, graph, max_age)
    finally:
        monitor.destroy_node()
        rclpy.try_shutdown()
