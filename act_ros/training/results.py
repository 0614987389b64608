"""What a training leaves beside its weights: what they are for, and how it went."""

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from act_ros.config import DEFAULT_TASK
from act_ros.errors import ParameterError, listed, shorten
from act_ros.policy.checkpoint import CONFIG_NAME, STATS_NAME
from act_ros.task import Task
from act_ros.training.cache import Entry, key_of
from act_ros.training.dataset import Split, remarks
from act_ros.training.episodes import PARAMETERS, Episode
from act_ros.training.output import CKPT_NAME, PICTURE, STATE_NAME, TASK, TRAINING, written
from act_ros.training.picture import draw
from act_ros.training.progress import Validation
from act_ros.training.recipe import Recipe

DRAW_EVERY = 20.0  # [s]
KINDS = ('recipe', 'parameters', 'options')  # of the options that must be the same


def options_of(recipe: Recipe, episodes: Sequence[Episode]) -> dict[str, dict[str, Any]]:
    """The options with which a training must be gone on, by kind, as JSON has them."""
    first = episodes[0]
    parameters = first.settings.parameters()
    options = (
        recipe.lasting(),
        {name: parameters[name] for name in PARAMETERS if name in parameters},
        {'--namespace': first.namespace},
    )
    return json.loads(json.dumps(dict(zip(KINDS, options, strict=True))))


def described(entries: Sequence[Entry], parts: Split) -> dict[str, Any]:
    """The episodes: what is in them, and what they are for.

    Bags are named as seen from the folder that all of them are in.
    """
    uses = {'validation': parts.validation, 'train': parts.train}
    used = {entry.key: use for use, of in uses.items() for entry in of}
    folder = Path(os.path.commonpath([Path(entry.about['bag']).parent for entry in entries]))
    here = Path.cwd()
    episodes: dict[str, Any] = {}
    for entry in entries:
        name = f'{Path(entry.about["bag"]).relative_to(folder)}, {entry.about["episode"]}'
        if name in episodes:  # as a table of episodes may have it
            name = f'{name} ({entry.about["start"]})'
        episodes[name] = {
            'use': used.get(entry.key, 'none'),
            'ticks': entry.about['ticks'],
            'samples': entry.about['samples'],
            'remarks': remarks(entry),
            'key': entry.key,
        }
    shown = folder.relative_to(here) if folder.is_relative_to(here) else folder
    return {'bags': str(shown), 'episodes': episodes}


class Results:
    """The folder of a training.

    :param out: is made by `begun`.
    :ivar out: as given.
    :ivar known: what an earlier run of it left in `training.json`.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.known: dict[str, Any] = {}
        self._about: dict[str, Any] = {}
        self._made: list[Path] = []  # folders, the innermost first
        self._drawn = 0.0

    def check(self, *, resume: bool) -> bool:
        """See that nothing else is there; whether a training there is finished.

        :raises ParameterError: something else is, or a training that is not to be gone on with.
        """
        out = self.out
        if self._read():
            done = self.known['ended']
            if not resume:
                what = f'a training ({done})' if done else 'an interrupted training'
                more = '' if done else ', or --resume to go on with it'
                raise ParameterError(f'{out} holds {what}; give another --out{more}')
            return bool(done)
        # Hidden is what a killed run had begun to write.
        if out.exists() and (
            not out.is_dir() or any(not each.name.startswith('.') for each in out.iterdir())
        ):
            raise ParameterError(f'{out} exists and is no training; give another --out')
        return False

    def finished(self) -> bool:
        """Whether a finished training is there; whatever else is, another process refuses."""
        return self._read() and bool(self.known['ended'])

    def _read(self) -> bool:
        """Read what an earlier run left; whether there is anything."""
        path = self.out / TRAINING
        if not path.exists():
            return False
        try:
            known = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            raise ParameterError(f'{path} cannot be read; give another --out') from None
        if not _is_of_a_training(known):
            raise ParameterError(f'{path} is not what a training writes; give another --out')
        self.known = known
        return True

    def compare(
        self, options: Mapping[str, Mapping[str, Any]], episodes: Sequence[Episode]
    ) -> None:
        """Refuse to go on with another training.

        :param options: see `options_of`.
        :raises ParameterError: naming what differs.
        """
        if not self.known:
            return
        other = f'{self.out} holds a training with other'
        same = 'give another --out, or the same to resume it'
        for kind, now in options.items():
            before = self.known[kind]
            for name in now | before:
                if now.get(name) != before.get(name):
                    raise ParameterError(
                        f'{other} {kind}: {name} was {_shown(before, name)}, now it is '
                        f'{_shown(now, name)}; {same}'
                    )
        known = {about['key'] for about in self.known['episodes'].values()}
        found = {key_of(episode.identity()): episode.name for episode in episodes}
        if known != {*found}:
            new = [name for key, name in found.items() if key not in known]
            what = f'{listed(new)} is new or has changed' if new else 'some are not given'
            raise ParameterError(f'{other} episodes: {what}; {same}')

    @contextmanager
    def begun(
        self, about: Mapping[str, Any], task: Task, recipe: Recipe, own: str | None
    ) -> Iterator[None]:
        """A training, its folder made; where it ends before anything came of it, that goes again.

        :param about: for `training.json`.
        :param own: text of the parameter file that describes the task; None: it is a shipped one.
        :raises ActError: the folder cannot be written to.
        """
        try:
            self._begin(about, task, recipe, own)
            yield
        except BaseException:
            self._give_up()
            raise

    def _begin(
        self, about: Mapping[str, Any], task: Task, recipe: Recipe, own: str | None
    ) -> None:
        """Make the folder, with what is known before the first step."""
        kept = {key: self.known.get(key) for key in ('validations', 'best', 'seconds')}
        self._about = {**about, 'versions': _versions(), **kept, 'ended': None}
        self._made = [path for path in (self.out, *self.out.parents) if not path.exists()]
        side = {
            'task': TASK if own is not None else DEFAULT_TASK,
            'camera_names': list(task.cameras),
            'image_size': list(task.image_size),
            'nheads': recipe.heads,
            'dilation': recipe.dilation,
        }
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParameterError(
                f'cannot write to --out {self.out}: {error.strerror}'
            ) from None
        self._write(TRAINING, _lines(self._about))
        if own is not None:
            self._write(TASK, own)
        self._write(CONFIG_NAME, yaml.safe_dump(side, sort_keys=False))

    def _give_up(self) -> None:
        """Remove what is of no use where nothing came of a training."""
        if self.known or any((self.out / name).exists() for name in (CKPT_NAME, STATE_NAME)):
            return
        for name in (TRAINING, TASK, CONFIG_NAME, STATS_NAME, PICTURE):
            with suppress(OSError):  # there is no such folder
                (self.out / name).unlink()
        for folder in self._made:
            with suppress(OSError):  # something else is in it
                folder.rmdir()

    def note(self, history: Sequence[Validation], ended: str | None = None) -> None:
        """Write how it went until now.

        :param ended: why no step follows; None where more are to come.
        """
        best = next((asdict(each) for each in reversed(history) if each.best), None)
        validations = [asdict(each) for each in history]
        seconds = history[-1].seconds if history else 0.0
        self._about |= {
            'validations': validations, 'best': best, 'seconds': seconds, 'ended': ended,
        }  # fmt: skip
        now = time.monotonic()
        # It takes half a second; before the end it need not be the newest.
        if history and (ended or now - self._drawn > DRAW_EVERY):
            with written(self.out / PICTURE) as part:
                draw(history, part)
            self._drawn = time.monotonic()
        self._write(TRAINING, _lines(self._about))

    def _write(self, name: str, text: str) -> None:
        with written(self.out / name) as part:
            part.write_text(text, encoding='utf-8')


def _is_of_a_training(known: Any) -> bool:
    """Whether it has what a later run relies on."""
    if not isinstance(known, dict) or not isinstance(known.get('ended', 0), str | None):
        return False
    if not all(isinstance(known.get(kind), dict) for kind in (*KINDS, 'episodes')):
        return False
    return all(
        isinstance(each, dict) and isinstance(each.get('key'), str)
        for each in known['episodes'].values()
    )


def _lines(about: Mapping[str, Any]) -> str:
    """JSON with a line for each item of what is on top."""
    texts = []
    for key, value in about.items():
        if isinstance(value, dict):
            rows = [f'{json.dumps(name)}: {json.dumps(each)}' for name, each in value.items()]
        elif isinstance(value, list):
            rows = [json.dumps(each) for each in value]
        else:
            texts.append(f'{json.dumps(key)}: {json.dumps(value)}')
            continue
        left, right = '{}' if isinstance(value, dict) else '[]'
        texts.append(f'{json.dumps(key)}: {left}\n  ' + ',\n  '.join(rows) + f'\n {right}')
    return '{\n ' + ',\n '.join(texts) + '\n}\n'


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
