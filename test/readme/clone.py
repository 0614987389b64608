"""A clone of this repository, as a reader of the README has it, with a checkpoint in place."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from act_ros.config import DEFAULT_TASK, task_file
from act_ros.parameter_file import read_parameter_file
from act_ros.sim.demo_bag import write_demo_bag
from test.readme import text
from test.rule import small_config, write_random
from test.waiting import wait_until

PATIENCE = 120  # [s] until a test gives up
SMALL = (48, 64)  # [px]
TINY = {
    'chunk_size': 20, 'hidden_dim': 32, 'feedforward_dim': 32, 'encoder_layers': 1,
    'decoder_layers': 1, 'heads': 4, 'backbone_width': 8, 'batch_size': 4, 'sample_every': 4,
}  # fmt: skip


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


class Clone:
    """Where commands of the README are run.

    `ckpt` is a checkpoint of the deployed task; a second one, for small frames, is in `small`
    with its parameters and a bag.

    :ivar ran: what has been run, in the README's words.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: set[str] = set()
        for name in ('act_ros', 'benchmarks', 'detr', 'Makefile', 'setup.py'):
            (folder / name).symlink_to(text.ROOT / name)
        (folder / '.venv').symlink_to(sys.prefix)
        write_random(folder / 'ckpt', small_config(heads=8), image_size=[480, 640])
        small = folder / 'small'
        write_random(small / 'ckpt', small_config(chunk_size=20), image_size=list(SMALL))
        content = yaml.safe_load(task_file(DEFAULT_TASK).read_text())
        content['/**']['ros__parameters']['task']['image_size'] = list(SMALL)
        (small / 'robot.yaml').write_text(yaml.safe_dump(content))
        (small / 'recipe.yaml').write_text(yaml.safe_dump({**TINY, 'steps': 4, 'lr': 1e-3}))
        settings = read_parameter_file(small / 'robot.yaml')
        write_demo_bag(small / 'bag', 4.0, settings)
        self.port = free_port()
        # What the README leaves open, what makes a run short, and a port that nobody has.
        self.stand_ins = {
            r'\bBAG\b': 'small/bag',
            r'\bDIR\b': 'small/ckpt',
            r'\bYAML\b': 'small/robot.yaml --duration 0.4',
            r'(out/runs.* )act_ros/config/demo\.yaml': r'\1small/robot.yaml --duration 1.2',
            r'--episodes 500 --workers 2': '--episodes 2 --params-file small/robot.yaml',
            r'act_ros/config/demo_recipe\.yaml': 'small/recipe.yaml',
            r'act_ros\.train\b': r'\g<0> --help',
            r'--free-running': r'\g<0> --params-file small/robot.yaml',
            r'act_ros\.sim\.demo_bag': r'\g<0> --seconds 0.4',
            r'act_ros\.sim\.rollout': r'\g<0> --episodes 1',
            r'act_ros\.evaluate_bag': r'\g<0> --help',
            r'(?m)^evaluate_bag out/demo/bag': (
                r'\g<0> --params-file act_ros/config/demo.yaml '
                r'--ckpt-dir act_ros/sim/demonstration --out out/coarse'
            ),
            r'act_ros\.inference_server': rf'\g<0> --endpoint tcp://127.0.0.1:{self.port}',
            r'act_ros\.test_zmq_client': rf'\g<0> --endpoint tcp://127.0.0.1:{self.port}',
            r'tcp://localhost:5555': f'tcp://localhost:{self.port}',
        }
        self.environment = {
            **os.environ,
            'PATH': f'{folder}/.venv/bin:{os.environ["PATH"]}',
            'PYTHONPATH': str(text.ROOT),
            'PYTHONUNBUFFERED': '1',
            'OMP_NUM_THREADS': '1',
        }

    def in_place(self, words: str) -> str:
        """A command or a snippet with what stands in for what the README leaves open."""
        for pattern, stand_in in self.stand_ins.items():
            words = re.sub(pattern, stand_in, words)
        return words

    def run(self, *commands: str) -> str:
        """Run commands in one shell, the README's words, and return what they said."""
        self.ran.update(commands)
        return self._run(['bash', '-ec', self.in_place('\n'.join(commands))])

    def run_unasked(self, command: str) -> str:
        """Run what a command of the README stands on."""
        return self._run(['bash', '-ec', self.in_place(command)])

    def python(self, snippet: str) -> str:
        """Run a snippet, and return what it printed."""
        return self._run(['.venv/bin/python', '-c', self.in_place(snippet)])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert 'Traceback' not in done.stdout
        return done.stdout

    @contextlib.contextmanager
    def running(self, *commands: str, says: str) -> Iterator[None]:
        """Commands of which the last runs until Ctrl-C, from where it says a pattern on.

        It must end well.
        """
        self.ran.update(commands)
        *before, last = map(self.in_place, commands)
        path = self.folder / f'{last.split()[0].replace("/", "_")}.log'
        with path.open('w') as file:
            process = subprocess.Popen(
                ['bash', '-ec', '\n'.join([*before, f'exec {last}'])], cwd=self.folder,
                env=self.environment, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

        def said() -> re.Match | None:
            match = re.search(says, path.read_text())
            assert match or process.poll() is None, f'it ended:\n{path.read_text()}'
            return match

        try:
            wait_until(said, PATIENCE, lambda: f'{says!r} in\n{path.read_text()}')
            yield
            process.send_signal(signal.SIGINT)
            code = process.wait(PATIENCE)
            expected = -signal.SIGINT if last.startswith('tail') else 0
            assert code == expected, path.read_text()
            assert 'Traceback' not in path.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
