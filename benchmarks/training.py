"""How much of a training's time is the network's.

Recordings of the simulated robot are decoded into a cache, and a policy is trained on them by the
demonstration's recipe: samples read from the cache, the optimiser, the moving average, all that a
training does. In turns with it, the same network goes forward and backward, and no more, on a
batch that is in memory.

  samples_per_s  of the training, median of its rounds
  bare_per_s     of forward and backward alone
  ratio          of the first to the second
  waited         share of the training's time in which the network waited for samples
  decode_share   share of decoding, in the time that it takes to decode every frame once and to
                 train on every sample once
  peak_mb        most memory of this process, with torch itself

What this says of a GPU or another network: `--recipe FILE` trains by another recipe.
"""

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from act_ros import cli
from benchmarks.table import command_line, show

if TYPE_CHECKING:
    from act_ros.training.batch import Data
    from act_ros.training.progress import Progress
    from act_ros.training.recipe import Recipe

QUICK = {'episodes': 1, 'steps': 3, 'rounds': 1}


def measure(
    recipe_file: Path | None = None, episodes: int = 3, steps: int = 10, rounds: int = 11
) -> dict[str, float]:
    """Record, decode and train.

    :param recipe_file: of the training; None: the demonstration's.
    :param episodes: that are recorded.
    :param steps: of a round.
    """
    import torch

    from act_ros.config import CONFIG_DIR
    from act_ros.policy.policy import resolve_device
    from act_ros.training.learner import Learner
    from act_ros.training.recipe import read_recipe

    recipe = replace(
        read_recipe([recipe_file or CONFIG_DIR / 'demo_recipe.yaml'], {}),
        steps=steps, epochs=0.0, validation_share=0.0, validate_every=steps,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, decoded = prepare(folder, recipe, episodes)
        device = resolve_device(recipe.device)
        learner = Learner(recipe, data.task, steps, device)
        batch = data.train.batch(range(min(recipe.batch_size, len(data.train)))).to(device)
        noise = torch.zeros(len(batch.qpos), 32, device=device)
        learner.gradients(batch, noise)
        trained, bare, waits = [], [], []
        for _ in range(rounds):
            begin = time.perf_counter()
            for _ in range(steps):
                learner.gradients(batch, noise)
            if device.type == 'cuda':
                torch.cuda.synchronize()
            bare.append(steps * len(batch.qpos) / (time.perf_counter() - begin))
            speed, waited = train(folder, recipe, data)
            trained.append(speed)
            waits.append(waited)
    once = len(data.train) / median(trained)
    return {
        'samples_per_s': round(median(trained), 2),
        'bare_per_s': round(median(bare), 2),
        'ratio': round(median(a / b for a, b in zip(trained, bare, strict=True)), 3),
        'waited': round(median(waits), 4),
        'decode_share': round(decoded / (decoded + once), 3),
        'peak_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
    }


def prepare(folder: Path, recipe: 'Recipe', episodes: int) -> tuple['Data', float]:
    """Record bags and decode them; the samples, and how long the decoding took [s]."""
    from act_ros.config import CONFIG_DIR, parameter_files
    from act_ros.parameter_file import read_parameter_file
    from act_ros.sim.record import Job, write_attempt
    from act_ros.task import Task
    from act_ros.training.cache import Cache
    from act_ros.training.dataset import Selection, assemble, decode, find_episodes

    settings = read_parameter_file(*parameter_files(CONFIG_DIR / 'demo.yaml'))
    task = Task.from_settings(settings)
    bags = [folder / f'episode_{seed}' for seed in range(episodes)]
    for seed, bag in enumerate(bags):
        write_attempt(Job(bag, settings, seed), lambda _: True)
    begin = time.perf_counter()
    cache = Cache(folder / 'cache')
    entries = decode(find_episodes(bags, settings, recipe, Selection(), cache), cache)
    took = time.perf_counter() - begin
    return assemble(entries, task, recipe)[0], took


def train(folder: Path, recipe: 'Recipe', data: 'Data') -> tuple[float, float]:
    """Train for a round; samples a second, and the share of waiting for them."""
    from act_ros.training.trainer import run

    rounds: list[tuple[float, float, float]] = []  # samples, seconds, waited, of each report
    last = 0

    def report(progress: 'Progress') -> bool:
        nonlocal last
        samples = (progress.step - last) * recipe.batch_size
        seconds = samples / progress.samples_per_s
        rounds.append((samples, seconds, progress.waited * seconds))
        last = progress.step
        return True

    out = folder / 'out'
    out.mkdir(exist_ok=True)
    run(recipe, data, out, report)
    # The first steps find nothing fetched ahead, and no memory that was used before.
    samples, seconds, waited = map(sum, zip(*(rounds[1:] or rounds), strict=True))
    return samples / seconds, waited / seconds


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = command_line('training', __doc__)
    parser.add_argument(
        '--recipe', type=Path, metavar='YAML', help="(default: the demonstration's)"
    )
    arguments = parser.parse_args(argv)
    size = QUICK if arguments.quick else {}
    return cli.run(
        'training', lambda: show('training', measure(arguments.recipe, **size), arguments.json)
    )


if __name__ == '__main__':
    sys.exit(main())
