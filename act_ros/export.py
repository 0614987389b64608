"""`python -m act_ros.export`: a checkpoint as one ONNX file, checked. No ROS needed."""

import argparse
import json
import logging
import sys
from pathlib import Path

from act_ros import cli
from act_ros.parameters import PARAMETERS

PROGRAM = 'export'
log = logging.getLogger(__name__)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Write a policy as one ONNX file: qpos and frames in, a chunk out, in '
                    'physical units. What it gives is compared with the policy before it is kept.',
        epilog='Inputs: qpos (1, state_dim) float32, and by its name each camera, (1, height, '
               'width, 3) uint8 RGB. Output: chunk (1, chunk_size, action_dim) float32. The '
               "file's metadata has the entries of both, in JSON.",
    )  # fmt: skip
    parser.add_argument('out', type=Path, metavar='FILE', help='what to write, e.g. policy.onnx')
    for name in ('ckpt_dir', 'ckpt_name', 'colour_order'):
        row = PARAMETERS[name]
        parser.add_argument(
            f'--{name.replace("_", "-")}', default=row.default, choices=row.choices or None,
            help=f'{row.text} (default: %(default)s)',
        )  # fmt: skip
    parser.add_argument('--task', metavar='NAME', help='name or YAML of the task')
    parser.add_argument(
        '--max-deviation', type=float, default=1e-4, metavar='X',
        help='of a normalised action from the policy; more is refused (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='replace the file if it is there')
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Load, export, compare, keep."""
    from act_ros.config import load_task
    from act_ros.errors import ParameterError
    from act_ros.files import whole
    from act_ros.policy.onnx_export import WholePolicy, blank_inputs, deviation, to_onnx
    from act_ros.policy.policy import make_policy, open_checkpoint, resolve_device

    out: Path = arguments.out
    cli.check_flags([('--max-deviation', arguments.max_deviation, 0.0)])
    if out.exists() and not arguments.force:
        raise ParameterError(f'{out} exists; give another name, or --force')
    out.parent.mkdir(parents=True, exist_ok=True)
    given = load_task(arguments.task) if arguments.task else None
    checkpoint, task = open_checkpoint(arguments.ckpt_dir, arguments.ckpt_name, given)
    order = arguments.colour_order
    policy = make_policy(checkpoint, task, resolve_device('cpu'), colour_order=order)
    module = WholePolicy(checkpoint.network(), task, checkpoint.statistics, order == 'bgr')
    about = {
        'task': task.name,
        'state': [entry.text for entry in task.state],
        'action': [entry.text for entry in task.action],
        'cameras': list(task.cameras),
        'rate': task.rate,
        'checkpoint_sha256': policy.about.sha256,
        'own_settings': dict(policy.about.own_settings),
    }
    model = to_onnx(
        module, blank_inputs(task), ['qpos', *task.cameras], 'chunk',
        metadata=[(key, json.dumps(value)) for key, value in about.items()],
    )  # fmt: skip
    found = deviation(model, policy)
    if not found <= arguments.max_deviation:
        raise ParameterError(
            f'what onnxruntime makes of it deviates by {found:.2g} of a normalised action, more '
            f'than --max-deviation {arguments.max_deviation:g}: nothing is written'
        )
    with whole(out) as part:
        part.write_bytes(model)
    log.info(
        '%s: %.1f MB, within %.2g of a normalised action', out, len(model) / 1e6, found
    )


def main(argv: list[str] | None = None) -> int:
    """Export and return the exit code."""
    arguments = parse_arguments(argv)
    return cli.run(PROGRAM, lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
