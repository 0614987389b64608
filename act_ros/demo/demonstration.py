"""The demonstration: the main job on the simulated robot, as processes over DDS.

Writes a demonstration checkpoint, starts the simulated robot and the ACT node, shows what they
do in a live table, and ends with a summary and a picture. Ctrl-C ends all of it.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import rclpy
from rich.console import Console
from rich.live import Live

from act_ros.child import child, module
from act_ros.config import CONFIG_DIR, load_task, task_file
from act_ros.demo import report
from act_ros.demo.monitor import Monitor
from act_ros.errors import ActError, ParameterError
from act_ros.nodes.isolation import OwnGraph
from act_ros.parameter_file import read_parameter_file, read_raw_parameters
from act_ros.parameters import Settings
from act_ros.sim.demo_checkpoint import is_demo_checkpoint, write_demo_checkpoint
from act_ros.task import Task

PROGRAMS = {'sim_robot': 'act_ros.demo.sim_robot', 'act_node': 'act_ros.nodes.main'}
START_TIMEOUT = 90.0  # loading and warming up may take as long on a busy machine [s]


def run(graph: OwnGraph, task_name: str, seconds: float, out: Path) -> None:
    """Run for a while and write `summary.json` and `demo.png`.

    :param graph: where the programs meet.
    :param task_name: name of a shipped task, or the path of its YAML.
    :param seconds: from the first command on.
    :param out: folder of the results and logs.
    :raises ActError: one of the processes ended, or no command came.
    """
    console = Console()
    task = load_task(task_name)
    if not is_demo_checkpoint(out / 'ckpt') and (found := _results(out)):
        raise ParameterError(
            f'{found[0]} is of something else, and stays; give another --out'
        )
    checkpoint = write_demo_checkpoint(out / 'ckpt', task)
    console.print(
        f'[bold]demonstration checkpoint[/] {checkpoint}: '
        f'[yellow]untrained weights made by rule, it has learnt nothing[/]'
    )
    files = [task_file(task_name), CONFIG_DIR / 'demo.yaml']
    parameters = {
        **read_raw_parameters(*files), 'ckpt_dir': str(checkpoint), 'zmq_endpoint': '',
        'enable_topic': '',  # nobody holds the deadman
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        arguments = graph.arguments(parameters, out / 'parameters.yaml')
        console.print(f'[bold]on this machine only[/] ROS_DOMAIN_ID={graph.domain}, under '
                      f'{graph.namespace}')  # fmt: skip
        processes = {
            name: stack.enter_context(child(module(program, *arguments), out / f'{name}.log'))
            for name, program in PROGRAMS.items()
        }
        monitor = stack.enter_context(_monitoring(task, read_parameter_file(*files), graph))
        _watch(console, monitor, processes, seconds, out)
        monitor.finish(timeout=5.0)
    summary = report.summary(monitor)
    (out / 'summary.json').write_text(json.dumps(summary, indent=2))
    report.picture(monitor, task, out / 'demo.png')
    console.print(report.summary_table(summary))
    console.print(f'[bold]picture[/] {out / "demo.png"}   [bold]logs[/] {out}/*.log')


def _results(out: Path) -> list[Path]:
    """What is in a folder under a name that the demonstration gives."""
    names = ('summary.json', 'demo.png', 'parameters.yaml', 'sim_robot.log', 'act_node.log')
    return [out / name for name in names if (out / name).exists()]


def _watch(
    console: Console,
    monitor: Monitor,
    processes: dict[str, subprocess.Popen],
    seconds: float,
    out: Path,
) -> None:
    """Show the live table until enough commands have been seen."""
    deadline = time.monotonic() + START_TIMEOUT
    shown = 0.0
    with Live(console=console, auto_refresh=False, transient=not console.is_terminal) as live:
        while monitor.elapsed < seconds:
            monitor.spin(0.1)
            for name, process in processes.items():
                if process.poll() is not None:
                    raise ActError(
                        f'{name} ended with code {process.returncode}; see {out / f"{name}.log"}'
                    )
            if not monitor.commands and time.monotonic() > deadline:
                raise ActError(
                    f'no command within {START_TIMEOUT:g} s; see {out / "act_node.log"}'
                )
            if console.is_terminal and time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                live.update(report.live_table(monitor, seconds), refresh=True)
    if not console.is_terminal:
        console.print(report.live_table(monitor, seconds))


@contextlib.contextmanager
def _monitoring(
    task: Task, settings: Settings, graph: OwnGraph
) -> Iterator[Monitor]:
    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    monitor = Monitor(task, settings, graph)
    try:
        yield monitor
    finally:
        monitor.destroy_node()
        rclpy.try_shutdown()
