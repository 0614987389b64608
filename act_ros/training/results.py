"""What a training leaves beside its weights: what they are for, and how it went."""

import json
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from act_ros.bags.folder import files_of
from act_ros.config import DEFAULT_TASK
from act_ros.errors import ParameterError, shorten
from act_ros.files import states, whole
from act_ros.policy.checkpoint import CONFIG_NAME, STATS_NAME
from act_ros.task import Task
from act_ros.training.episodes import PARAMETERS, Episode
from act_ros.training.output import CKPT_NAME, STATE_NAME
from act_ros.training.picture import draw
from act_ros.training.progress import Validation
from act_ros.training.recipe import Recipe

TRAINING, PICTURE, TASK = 'training.json', 'training.png', 'task.yaml'
DRAW_EVERY = 20.0  # [s]


def identity_of(recipe: Recipe, episodes: Sequence[Episode]) -> dict[str, Any]:
    """What must be the same for a training to be gone on with, as JSON has it."""
    first = episodes[0]
    parameters = first.settings.parameters()
    return {
        'recipe': recipe.lasting(),
        'parameters': {name: parameters[name] for name in PARAMETERS if name in parameters},
        'episodes': {e.name: [e.window.start, e.window.stop] for e in episodes},
        'files': states(dict.fromkeys(f for e in episodes for f in files_of(e.bag))),
        'namespace': first.namespace,
    }


class Results:
    """The folder of a training.

    :param out: is made by `begin`.
    :ivar known: what an earlier run of it left in `training.json`.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.known: dict[str, Any] = {}
        self._about: dict[str, Any] = {}
        self._made: list[Path] = []  # folders, the innermost first
        self._drawn = 0.0

    def check(self, *, resume: bool) -> bool:
        """See that nothing else is there; whether a training there is finished.

        :raises ParameterError: something else is, or a training that is not to be gone on with.
        """
        out = self._out
        if (out / TRAINING).exists():
            try:
                self.known = json.loads((out / TRAINING).read_text(encoding='utf-8'))
                done = self.known['ended']
            except (OSError, ValueError, KeyError, TypeError):
                raise ParameterError(
                    f'{out / TRAINING} cannot be read; give another --out'
                ) from None
            if not resume:
                what = f'a training ({done})' if done else 'an interrupted training'
                more = '' if done else ', or --resume to go on with it'
                raise ParameterError(f'{out} holds {what}; give another --out{more}')
            return bool(done)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ParameterError(f'{out} exists and is no training; give another --out')
        return False

    def compare(self, identity: Mapping[str, Any]) -> None:
        """Refuse to go on with another training.

        :raises ParameterError: naming what differs.
        """
        identity = json.loads(json.dumps(identity))
        if not self.known or self.known['identity'] == identity:
            return
        for part, now in identity.items():
            before = self.known['identity'].get(part)
            if before == now:
                continue
            if not isinstance(before, dict) or not isinstance(now, dict):
                before, now, part = {part: before}, {part: now}, ''
            name = next(n for n in (*before, *now) if before.get(n) != now.get(n))
            raise ParameterError(
                f'{self._out} holds a training with other {part or "options"}: {name} was '
                f'{_shown(before, name)}, now it is {_shown(now, name)}; give another --out, or '
                f'the same to resume it'
            )

    def begin(
        self, about: Mapping[str, Any], task: Task, recipe: Recipe, own: Path | None
    ) -> None:
        """Make the folder, with what is known before the first step.

        :param about: for `training.json`.
        :param own: the parameter file that describes the task; None: it is a shipped one.
        """
        kept = {key: self.known.get(key) for key in ('validations', 'best')}
        self._about = {**about, 'versions': _versions(), **kept, 'ended': None}
        self._made = [path for path in (self._out, *self._out.parents) if not path.exists()]
        side = {
            'task': TASK if own is not None else DEFAULT_TASK,
            'camera_names': list(task.cameras),
            'image_size': list(task.image_size),
            'nheads': recipe.heads,
            'dilation': recipe.dilation,
        }
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._write(TRAINING, json.dumps(self._about, indent=1))
            if own is not None:
                self._write(TASK, own.read_text(encoding='utf-8'))
            self._write(CONFIG_NAME, yaml.safe_dump(side, sort_keys=False))
        except OSError as error:
            raise ParameterError(
                f'cannot write to --out {self._out}: {error.strerror}'
            ) from None

    def give_up(self) -> None:
        """Remove what is of no use where a training failed before anything came of it."""
        if self.known or any((self._out / name).exists() for name in (CKPT_NAME, STATE_NAME)):
            return
        for name in (TRAINING, TASK, CONFIG_NAME, STATS_NAME, PICTURE):
            (self._out / name).unlink(missing_ok=True)
        for folder in self._made:
            with suppress(OSError):  # something else is in it
                folder.rmdir()

    def note(self, history: Sequence[Validation], ended: str | None = None) -> None:
        """Write how it went until now.

        :param ended: why no step follows; None where more are to come.
        """
        best = next((asdict(each) for each in reversed(history) if each.best), None)
        validations = [asdict(each) for each in history]
        self._about |= {'validations': validations, 'best': best, 'ended': ended}
        now = time.monotonic()
        # It takes half a second; before the end it need not be the newest.
        if history and (ended or now - self._drawn > DRAW_EVERY):
            draw(history, self._out / PICTURE)
            self._drawn = time.monotonic()
        self._write(TRAINING, json.dumps(self._about, indent=1))

    def _write(self, name: str, text: str) -> None:
        with whole(self._out / name) as part:
            part.write_text(text, encoding='utf-8')


def _shown(values: Mapping[str, Any], name: str) -> str:
    return shorten(values[name]) if name in values else 'not there'


def _versions() -> dict[str, str]:
    found = {'python': platform.python_version()}
    for package in ('act_ros', 'torch', 'numpy'):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = 'unknown'
    return found
