"""From bags to what a training takes: episodes found, decoded once, split, normalised."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from act_ros import workers
from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.errors import BagError, ParameterError, listed
from act_ros.files import free
from act_ros.parameters import Settings
from act_ros.recording.checks import check_frames, first_commands
from act_ros.recording.command_faults import lines, unreadable
from act_ros.recording.episodes import NS, Window, split
from act_ros.recording.playback import Playback
from act_ros.task import Task
from act_ros.training.batch import Data
from act_ros.training.cache import Cache, Entry, key_of
from act_ros.training.episodes import Episode, Job, do_job
from act_ros.training.recipe import Recipe
from act_ros.training.samples import CachedSamples, commanded_until
from act_ros.training.statistics import statistics_of

REMARKS = 10  # lines of what is left out that are logged

log = logging.getLogger(__name__)

Length = tuple[int, str]  # actions that follow each other in an episode, and its name
Progress = Callable[[int, int], bool]  # number, how much of that is done -> whether to go on


@dataclass(frozen=True)
class Selection:
    """Which parts of the bags are looked at, see `split`."""

    episodes: str = 'whole'
    start: float | None = None
    duration: float | None = None
    namespace: str = ''


def find_episodes(
    paths: Sequence[Path],
    settings: Settings,
    recipe: Recipe,
    selection: Selection,
    cache: Cache,
    progress: Progress = lambda number, done: True,
) -> list[Episode]:
    """The episodes of bags that fit the parameters; nothing is written.

    :param paths: of the bags.
    :param cache: what is known of it need not be looked at again.
    :param progress: told each bag's number, and 1, when it was looked at.
    :raises ActError: naming the bag that does not fit.
    """
    if settings.colour_order != 'rgb':
        raise ParameterError(
            f"parameter 'colour_order' is {settings.colour_order}, expected rgb: so a policy is "
            f'trained here, and so the node must show it the frames'
        )
    task = Task.from_settings(settings)
    found: list[Episode] = []
    for number, path in enumerate(paths):
        with Bag(path) as bag:
            topics = Topics(settings, task, bag, selection.namespace)
            windows = split(
                bag, selection.episodes, topics.inputs, start=selection.start,
                duration=selection.duration,
            )  # fmt: skip
            episodes = [
                Episode(
                    path, window, settings, _most_frames(bag, topics, task, window, recipe),
                    selection.namespace, recipe.sample_every, recipe.action_offset,
                )
                for window in windows
            ]  # fmt: skip
            if not all(cache.find(episode.identity()) for episode in episodes):
                check_frames(bag, topics, settings, task)
                _check_commands(bag, topics, settings, task)
                _check_observations(bag, windows, settings, task, selection.namespace)
        found += episodes
        progress(number, 1)
    # As far as it can be said before anything is decoded.
    _check_enough([(episode.ticks, episode.name) for episode in found], task.rate, recipe)
    return found


def _most_frames(bag: Bag, topics: Topics, task: Task, window: Window, recipe: Recipe) -> int:
    """How many frames the samples of an episode show at most, or a few less."""
    samples = (window.stop - window.start) / NS * task.rate / recipe.sample_every + 1
    share = (window.stop - window.start) / (bag.end + 1 - bag.start)
    cameras = [topic for topic, names in topics.inputs.items() if set(names) & set(task.cameras)]
    return sum(int(min(samples, bag.count(topic) * share + 1)) for topic in cameras)


def _check_commands(bag: Bag, topics: Topics, settings: Settings, task: Task) -> None:
    said = {column for spec in topics.outputs.values() for column in spec.columns}
    unsaid = [str(entry) for i, entry in enumerate(task.action) if i not in said]
    if unsaid:
        raise BagError(
            f'{bag.path} has no {listed(topics.missing) or "topic"} with the commands of '
            f'{listed(unsaid)}: record what is sent to the robot, or set outputs in --params-file '
            f'as the commands were recorded'
        )
    about = first_commands(bag, topics, settings, task)
    if unreadable(about) or not any(of['messages'] for of in about.values()):
        raise BagError(f'{bag.path}: no command can be read: {"; ".join(lines(about))}')


def _check_observations(
    bag: Bag, windows: Sequence[Window], settings: Settings, task: Task, namespace: str
) -> None:
    """Refuse a bag none of whose episodes has a complete observation."""
    for window in windows:
        played = Playback(bag, window, settings, task, namespace)
        if any(tick.snapshot is not None for tick in played.ticks()):
            return
    raise BagError(f'{bag.path}: no tick has a complete observation: {played.why_empty()}')


def decode(
    episodes: Sequence[Episode],
    cache: Cache,
    processes: int = 1,
    progress: Progress = lambda number, ticks: True,
) -> list[Entry]:
    """Take into the cache what is not in it yet, and read all of it.

    :param processes: that decode, an episode each.
    :param progress: told how many ticks of an episode are done.
    :raises ActError: the disk has too little room, or a bag is damaged beyond use.
    """
    entries: dict[int, Entry | None] = {}
    for number, episode in enumerate(episodes):
        entries[number] = entry = cache.find(episode.identity())
        if entry is not None:
            progress(number, len(entry.time))
    left = {number: episodes[number] for number, entry in entries.items() if entry is None}
    if left:
        _check_room(left.values(), cache)
        with cache.building() as part:
            jobs = {n: Job(episode, cache.folder, part) for n, episode in left.items()}
            if processes > 1 and len(jobs) > 1:
                count = min(processes, len(jobs))
                workers.run_in_processes(do_job, jobs, count, workers.no_result, progress)
            else:
                workers.run_here(do_job, jobs, workers.no_result, progress)
    for number in left:
        entries[number] = cache.find(episodes[number].identity())
        if entries[number] is None:
            raise BagError(f'{episodes[number].name} has changed while it was read; train again')
    return [entry for entry in entries.values() if entry is not None]


def _check_room(episodes: Iterable[Episode], cache: Cache) -> None:
    """Refuse what would not fit on the disk."""
    needed = 0
    for episode in episodes:
        if len(episode.settings.task_image_size) != 2:
            raise ParameterError(
                f'task.image_size is {list(episode.settings.task_image_size)}; a training needs '
                f'cameras of one size: [height, width]'
            )
        height, width = episode.settings.task_image_size
        needed += episode.frames * height * width * 3
    room = free(cache.folder)
    if needed > room:
        raise ParameterError(
            f'the frames need {needed / 1e6:.0f} MB, and {room / 1e6:.0f} MB are free for '
            f'{cache.folder}: give another --cache, or a larger --sample-every'
        )


def assemble(entries: Sequence[Entry], task: Task, recipe: Recipe) -> tuple[Data, 'Split']:
    """Split episodes, and normalise their samples.

    :raises ActError: there are too few, or all are too short.
    """
    used = [entry for entry in entries if len(entry.sample)]
    _tell_of(entries)
    if not used:
        whys = '; '.join(dict.fromkeys(_why_empty(entry) for entry in entries))
        raise BagError(f'no tick is a sample, with an observation and a command: {whys}')
    lengths = [(_longest(entry, recipe), entry.name) for entry in used]
    _check_enough(lengths, task.rate, recipe)
    _tell_short(lengths, task.rate, recipe)
    parts = split_episodes(used, recipe)
    statistics = statistics_of(parts.train, task)

    def samples(of: Sequence[Entry]) -> CachedSamples:
        return CachedSamples(of, task, statistics, recipe.chunk_size, recipe.action_offset)

    example = parts.train[-1].qpos
    return Data(
        train=samples(parts.train),
        validation=samples(parts.validation) if parts.validation else None,
        statistics=statistics,
        example_qpos=example[np.isfinite(example).all(axis=1)],
        task=task,
        fingerprint=key_of({n: [e.key for e in of] for n, of in vars(parts).items()}),
    ), parts


@dataclass(frozen=True)
class Split:
    """Episodes that are trained on, and those that are held back."""

    train: list[Entry]
    validation: list[Entry]


def split_episodes(entries: Sequence[Entry], recipe: Recipe) -> Split:
    """Hold episodes back by the recipe's seed; never ticks of one that is trained on."""
    if not recipe.validation_share:
        return Split(list(entries), [])
    count = min(max(1, round(recipe.validation_share * len(entries))), len(entries) - 1)
    order = np.random.default_rng(recipe.seed).permutation(len(entries))
    held = set(order[:count].tolist())
    return Split(
        [entry for i, entry in enumerate(entries) if i not in held],
        [entry for i, entry in enumerate(entries) if i in held],
    )


def _longest(entry: Entry, recipe: Recipe) -> int:
    """The actions of the sample that has most, of however long a chunk."""
    first = entry.sample - recipe.action_offset
    return int((commanded_until(entry.action)[first] - first).max())


def _check_enough(lengths: Sequence[Length], rate: float, recipe: Recipe) -> None:
    """Refuse episodes of which no training comes.

    Those shorter than a chunk are of use: what would follow their end is padding. But a chunk
    that none is as long as would have entries of which nothing is learnt.
    """
    length, name = max(lengths)
    if length < recipe.chunk_size:
        raise BagError(
            f'no episode is as long as {_chunk(rate, recipe)}: the longest, {name}, has '
            f'{length}; lower --chunk-size, or record longer'
        )
    if recipe.validation_share and len(lengths) < 2:
        raise BagError(
            f'there is one episode only, {name}, and none to validate by: give more bags, split '
            f'this one (--episodes gaps:2), or train without (--validation-share 0)'
        )


def _tell_short(lengths: Sequence[Length], rate: float, recipe: Recipe) -> None:
    short = sum(length < recipe.chunk_size for length, _ in lengths)
    if short:
        length, name = min(lengths)
        log.warning(
            '%d of %d episodes are shorter than %s, the shortest, %s, has %d: what would follow '
            'their end counts for nothing', short, len(lengths), _chunk(rate, recipe), name,
            length,
        )  # fmt: skip


def _chunk(rate: float, recipe: Recipe) -> str:
    return f'a chunk of {recipe.chunk_size} actions ({recipe.chunk_size / rate:.3g} s)'


def _tell_of(entries: Sequence[Entry]) -> None:
    """What is left out of the episodes, and why; the first lines of it."""
    texts = [text for entry in entries for text in remarks(entry)]
    for text in texts[:REMARKS]:
        log.warning(text)
    if len(texts) > REMARKS:
        log.warning('... and %d more such lines, see training.json', len(texts) - REMARKS)


def remarks(entry: Entry) -> list[str]:
    """What is left out of an episode, and why."""
    about = entry.about
    if not len(entry.sample):
        return [f'{entry.name} has no sample: {_why_empty(entry)}']
    texts = [f'{entry.name}: {text}' for text in (*about['damage'], *lines(about['commands']))]
    for fault in about['faults'].values():
        texts.append(
            f'{entry.name}: {fault["ticks"]} of {about["ticks"]} ticks are no samples: '
            f'{fault["first"]}'
        )
    return texts


def _why_empty(entry: Entry) -> str:
    about: Mapping[str, Any] = entry.about
    if about['why_empty']:
        return about['why_empty']
    faults = [fault['first'] for fault in about['faults'].values()]
    said = lines(about['commands'])
    return '; '.join((*said, *faults)) or 'no command falls together with an observation'
