"""`replay`: play a bag into the live node in dry run, record it, compare it with offline."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from act_ros import cli
from act_ros.nodes.isolation import OwnGraph, own_graph
from act_ros.parameters import Settings

if TYPE_CHECKING:
    from act_ros.bags.bag import Bag

PROGRAM = 'replay'
TICK_TOPIC = '/act/tick'


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    from act_ros.config import DEFAULT_TASK

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Play a bag into the live ACT node in dry run, record its shadow commands and '
        'ticks, and compare its actions with those of the same policy offline.',
    )
    add = parser.add_argument
    add('bag', type=Path, metavar='BAG', help='folder of a bag, or a .mcap or .db3')
    add('--ckpt-dir', metavar='DIR', help='folder of the checkpoint')
    add('--params-file', action='append', default=[], metavar='YAML', dest='params_files',
        help="the node's parameters; of several files the later count over the earlier (default: "
             f'{DEFAULT_TASK})')
    add('--out', type=Path, default=Path('replay'), metavar='DIR',
        help='folder of recording, log and comparison (default: %(default)s)')
    add('--free-running', action='store_true',
        help='in real time, inference beside the tick; else each tick waits for the last')
    add('--rate', type=float, default=1.0, help='times real time, where it is free-running')
    add('--duration', type=float, metavar='S', help='seconds of the bag that are played')
    return parser.parse_args(argv)  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Replay, compare, and say what came of it.

    :raises ActError: one line for what does not fit.
    """
    from act_ros.bags.bag import Bag
    from act_ros.bags.topics import Topics
    from act_ros.config import parameter_files
    from act_ros.errors import ParameterError
    from act_ros.parameter_file import read_parameter_file, read_raw_parameters
    from act_ros.task import Task

    files = parameter_files(*arguments.params_files)
    # What is compared are the policy's own steps, whatever is sent between them.
    settings = read_parameter_file(*files).once_a_step()
    ckpt_dir = Path(arguments.ckpt_dir or settings.ckpt_dir).resolve()
    endpoint = '' if arguments.ckpt_dir else settings.policy_endpoint
    settings = replace(settings, ckpt_dir=str(ckpt_dir), policy_endpoint=endpoint)
    task, bag, out = Task.from_settings(settings), Bag(arguments.bag), arguments.out
    Topics(settings, task, bag)  # what the bag lacks is said before anything begins
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError(f'{out} exists; give another --out')
    for flag, value in (('--rate', arguments.rate), ('--duration', arguments.duration)):
        if value is not None and not 0 < value < 1e9:
            raise ParameterError(f'{flag} is {value:g}, expected more than 0')
    out.mkdir(parents=True, exist_ok=True)

    # A live node with its robot may be in the shell's ROS_DOMAIN_ID.
    with own_graph(PROGRAM) as graph:
        values = {
            **read_raw_parameters(*files),
            'ckpt_dir': settings.ckpt_dir,
            'policy_endpoint': endpoint,
            'use_sim_time': True,
            'dry_run': True,
            'publish_tick': True,
            'autostart': False,
            'zmq_endpoint': '',
            'enable_topic': '',  # nobody holds the deadman
            'inference': 'asynchronous' if arguments.free_running else 'synchronous',
            'command_rate': settings.command_rate,
            **{n: v for n, v in settings.parameters().items() if n.startswith('joint_limits.')},
        }
        ros_arguments = graph.arguments(values, out / 'parameters.yaml')
        play(graph, arguments, ros_arguments, settings, bag)
    report(arguments, settings)
    for text in bag.damage:
        print(f'{arguments.bag}: {text}')


def play(
    graph: OwnGraph, arguments: argparse.Namespace, ros_arguments: list[str],
    settings: Settings, bag: 'Bag',
) -> None:
    """Play the bag to a node of its own and record what that says.

    :param ros_arguments: of the node.
    :raises ActError: the node has not taken part.
    """  # fmt: skip
    from act_ros.child import child, module
    from act_ros.errors import ActError
    from act_ros.interfaces import (
        INPUT_TYPES,
        absolute,
        camera_inputs,
        dry_run_topic,
        read_outputs,
        state_inputs,
    )
    from act_ros.nodes.replay_node import Replay
    from act_ros.task import Task

    task, out = Task.from_settings(settings), arguments.out
    given = {**camera_inputs(settings, task), **state_inputs(settings, task)}
    inputs = {absolute(topic): INPUT_TYPES[kind] for topic, kind in given.values()}
    outputs = {
        dry_run_topic(spec.topic).replace('~', '/act'): spec.message_type
        for spec in read_outputs(settings.outputs, task)
    }
    log = out / 'node.log'
    with child(module('act_ros.nodes.main', *ros_arguments), log) as process:

        def running() -> None:
            if process.poll() is not None:
                raise ActError(f'the node has ended: {last_line(log)}')

        try:
            with Replay(
                graph, inputs, outputs, TICK_TOPIC, out / 'recording', running
            ) as replay:
                replay.configure()
                stop = None if arguments.duration is None else (
                    bag.start + round(arguments.duration * 1e9)
                )  # fmt: skip
                messages = bag.raw(inputs, stop=stop)
                if arguments.free_running:
                    replay.free_running(messages, arguments.rate)
                else:
                    replay.lock_step(messages, round(1e9 / task.rate))
        except ActError as error:
            raise ActError(f'{error} ({log}: {last_line(log)})') from None


def last_line(log: Path) -> str:
    """What a process said last."""
    lines = log.read_text(encoding='utf-8', errors='replace').strip().splitlines()
    return lines[-1] if lines else 'nothing'


def report(arguments: argparse.Namespace, settings: Settings) -> None:
    """Compare the recording with the same policy offline; print and keep what came of it.

    :raises ActError: nothing could be compared.
    """
    from act_ros.errors import ActError
    from act_ros.evaluation.compare import compare, read_ticks
    from act_ros.policy import set_torch_threads
    from act_ros.policy.kept import load

    set_torch_threads(settings.torch_threads)
    ticks = read_ticks(arguments.out / 'recording', TICK_TOPIC)
    found = compare(arguments.bag, ticks, load(settings), settings)
    path = arguments.out / 'comparison.json'
    path.write_text(json.dumps(found.about(), indent=1), encoding='utf-8')
    print(f'{found.ticks} ticks; {len(found.other_inputs)} with other inputs than offline')
    if found.other_inputs:
        print(f'first: {found.other_inputs[0]}')
    print(f'recording: {arguments.out / "recording"}')
    # In real time, other inputs from the first tick on are a finding; a tick at a time, a fault.
    if not found.compared and not (arguments.free_running and found.other_inputs):
        cause = 'other inputs from the first tick on' if found.other_inputs else 'no actions'
        raise ActError(f'0 actions compared: {cause}; see {arguments.out / "node.log"}')
    text = f'{found.compared} actions before it compared with offline'
    if found.compared:
        text += f': largest difference {found.largest_difference:.3g}'
    print(text)


def main(argv: list[str] | None = None) -> int:
    """Replay and return the exit code."""
    arguments = parse_arguments(argv)
    cli.require_ros(PROGRAM)
    cli.interrupt_on_signals()  # they end the node too, and leave the recording that there is
    return cli.run(PROGRAM, lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
