"""The training: step after step, looked at between them, never lost."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from act_ros.errors import TrainingError
from act_ros.policy.policy import resolve_device
from act_ros.training import output
from act_ros.training.batch import Batch, Data, Samples
from act_ros.training.fetching import Waiting, fetched
from act_ros.training.learner import ALONE, Learner
from act_ros.training.order import Order, noise
from act_ros.training.progress import Losses, Progress, Validation
from act_ros.training.recipe import Recipe
from act_ros.training.team import Team, is_loss_of_another

REPORT_EVERY = 0.5  # seconds
CPU_ALLOCATOR = 'DefaultCPUAllocator'  # speaks by a RuntimeError like any other

Report = Callable[[Progress], bool]


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    :ivar ended: why, for people; None where `report` stopped it: it can be taken up again.
    :ivar history: every validation.
    """

    ended: str | None
    history: tuple[Validation, ...]


def run(
    recipe: Recipe,
    data: Data,
    out: Path,
    report: Report = lambda progress: True,
    *,
    resume: bool = False,
    team: Team = ALONE,
) -> Outcome:
    """Train, and write `policy_best.ckpt` and `dataset_stats.pkl`.

    :param out: folder that they are written to, and from which `resume` takes the training up.
    :param report: is told twice a second and with each validation; where it says False the
        training is put by, to be taken up again. Of a team the first process is asked.
    :raises TrainingError: one line that says why it cannot go on.
    """
    device = resolve_device(recipe.device)
    if device.type == 'cuda' and device.index is None and team.size > 1:
        device = torch.device('cuda', team.local)
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    with failures_are_named(recipe, device, team):
        training = _Training(recipe, data, out, device, team)
        state = output.read_state(out) if resume else None
        if state is not None:
            training.restore(state)
        if team.first:
            output.remove_parts(out)
            output.write_statistics(out, data)
        ended = training.run(report)
    if ended is not None and team.first:
        output.remove_state(out)
    return Outcome(ended, tuple(training.history))


class _Training:
    def __init__(
        self, recipe: Recipe, data: Data, out: Path, device: torch.device, team: Team
    ) -> None:
        self._recipe, self._data, self._out = recipe, data, out
        self._device, self._team = device, team
        self._share = team.share(recipe.batch_size)
        self._steps = recipe.steps_of(len(data.train))
        self._order = Order(len(data.train), recipe.batch_size, recipe.seed)
        self._learner = Learner(recipe, data.task, self._steps, device, team)
        self._waiting = Waiting()
        self._step = 0
        self._seconds = 0.0  # of runs before this one
        self._begun = time.monotonic()
        self._total = np.zeros(3)  # losses since the last validation, of so many steps
        self._summed = 0
        self.history: list[Validation] = []

    def run(self, report: Report) -> str | None:
        """Train; why it ended, None where it was stopped."""
        recipe = self._recipe
        losses: list[Tensor] = []
        reported = saved = time.monotonic()
        waited = 0.0
        ended = self._ended()
        steps = range(self._step, self._steps)
        batches = self._batches(self._data.train, map(self._indices, steps))
        with closing(batches):
            while ended is None:
                drawn = noise(recipe.batch_size, recipe.seed, self._step)[self._share]
                losses.append(self._learner.step(self._step, next(batches), drawn))
                self._step += 1
                validates = self._step % recipe.validate_every == 0 or self._step == self._steps
                now = time.monotonic()
                if not validates and not self._team.agree(now - reported >= REPORT_EVERY):
                    continue
                mean = self._sum_up(losses)
                took = time.monotonic() - reported  # a GPU has done its steps only now
                speed = len(losses) * recipe.batch_size / took
                share = (self._waiting.seconds - waited) / took
                losses = []
                if validates:
                    self._validate()
                    ended = self._ended()
                progress = Progress(
                    self._step, self._steps, self._epoch(), self._lr(), mean, speed, share,
                    tuple(self.history), ended,
                )  # fmt: skip
                goes_on = self._team.agree(report(progress) if self._team.first else True)
                if ended is None and (not goes_on or now - saved >= recipe.save_every):
                    self._save()
                    saved = time.monotonic()
                    if not goes_on:
                        return None
                reported, waited = time.monotonic(), self._waiting.seconds
        return ended

    def _indices(self, step: int) -> np.ndarray:
        return self._order.indices(step)[self._share]

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved.

        :raises TrainingError: it is of another training.
        """
        if state.get('of') != self._identity():
            raise TrainingError(
                f'{self._out / output.STATE_NAME} is of other samples or another recipe; give '
                f'another --out, or the same to resume it'
            )
        self._learner.restore(state['learner'])
        self._step, self._seconds = state['step'], state['seconds']
        self._total, self._summed = np.array(state['total']), state['summed']
        self.history = [_validation(each) for each in state['history']]

    def _save(self) -> None:
        if not self._team.first:
            return
        output.write_state(self._out, {
            'of': self._identity(),
            'learner': self._learner.state(),
            'step': self._step,
            'seconds': self._elapsed(),
            'total': self._total.tolist(),
            'summed': self._summed,
            'history': [asdict(each) for each in self.history],
        })  # fmt: skip

    def _identity(self) -> dict[str, Any]:
        return {'recipe': self._recipe.lasting(), 'samples': self._data.fingerprint}

    def _sum_up(self, losses: list[Tensor]) -> Losses:
        """The mean of some steps' losses.

        :raises TrainingError: one is not finite.
        """
        values = self._team.add(torch.stack(losses).double().cpu()).numpy() / self._team.size
        bad = ~np.isfinite(values[:, 2])
        if bad.any():
            step = self._step - len(losses) + int(np.argmax(bad)) + 1
            raise TrainingError(
                f'the loss of step {step} is {values[np.argmax(bad), 2]:g}, so nothing more is '
                f'written; try a lower lr, a warmup, clip: 1, or precision: float32'
            )
        for each in values:  # one by one: how many are reported at once shall not tell
            self._total += each
        self._summed += len(losses)
        return Losses(*values.mean(axis=0).tolist())

    def _validate(self) -> None:
        """Look at episodes that are not trained on, and keep the weights if they are the best."""
        samples, recipe = self._data.validation, self._recipe
        found = None
        if samples is not None:
            count = min(len(samples), recipe.validation_samples)
            chosen = np.linspace(0, len(samples) - 1, count).round().astype(int)
            parts = np.split(chosen, range(recipe.batch_size, count, recipe.batch_size))
            mine = parts[self._team.rank :: self._team.size]
            with closing(self._batches(samples, mine)) as batches:
                *sums, number = self._team.add(self._learner.validate(batches)).tolist()
            found = Losses(*(value / number for value in sums))
            if not np.isfinite(found.l1):
                raise TrainingError(
                    f'the validation after step {self._step} is {found.l1:g}, so nothing more is '
                    f'written; try a lower lr, a warmup, clip: 1, or precision: float32'
                )
        best = found is None or all(
            found.l1 < each.validation.l1 for each in self.history if each.validation is not None
        )
        train = Losses(*(self._total / self._summed).tolist())
        self.history.append(
            Validation(
                self._step, self._epoch(), self._lr(), train, found, best, self._elapsed()
            )
        )
        self._total, self._summed = np.zeros(3), 0
        if best and self._team.first:
            dtype = getattr(torch, recipe.weights)
            output.write_checkpoint(self._out, self._learner.weights, dtype)

    def _ended(self) -> str | None:
        if self._step >= self._steps:
            return f'{self._steps} steps'
        patience = self._recipe.patience
        best = max((i for i, each in enumerate(self.history) if each.best), default=-1)
        if patience and len(self.history) - 1 - best >= patience:
            return f'no better one in {patience} validations'
        return None

    def _batches(
        self, samples: Samples, chosen: Iterable[np.ndarray]
    ) -> Generator[Batch, None, None]:
        def fetch(indices: np.ndarray) -> Batch:
            batch = samples.batch(indices)
            return batch.pinned() if self._device.type == 'cuda' else batch

        return fetched(fetch, chosen, self._recipe.workers, self._waiting)

    def _epoch(self) -> float:
        return self._step * self._recipe.batch_size / len(self._data.train)

    def _lr(self) -> float:
        """Of the last step."""
        return self._recipe.lr * self._learner.rate(max(0, self._step - 1))

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._begun


def _validation(values: dict[str, Any]) -> Validation:
    losses = {name: values[name] and Losses(**values[name]) for name in ('train', 'validation')}
    return Validation(**{**values, **losses})


@contextmanager
def failures_are_named(recipe: Recipe, device: torch.device, team: Team) -> Iterator[None]:
    """Say in one line that memory was too small, or another process has ended.

    :raises TrainingError: it was.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (
            CPU_ALLOCATOR in str(error)
        ):
            raise TrainingError(
                f'the memory of {device} is too small for batch_size {recipe.batch_size}: lower '
                f'it, or the sizes of the network'
            ) from error
        if is_loss_of_another(error):
            raise TrainingError(
                f'process {team.rank} of {team.size} ends, for another one has ended'
            ) from error
        raise
