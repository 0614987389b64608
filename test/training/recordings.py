"""Recordings that are trained on, and what is made of them."""

from dataclasses import replace

import numpy as np

from act_ros.bags.folder import bags_of
from act_ros.training.cache import LOCK, Cache
from act_ros.training.dataset import Selection, decode, find_episodes
from act_ros.training.recipe import Recipe
from test.bags import bags
from test.bags.bags import SETTINGS, TASK

SMALL = replace(SETTINGS, task_image_size=bags.SIZE)
SMALL_TASK = replace(TASK, image_size=bags.SIZE)
RECIPE = Recipe(chunk_size=20, sample_every=4, validation_share=0.3)
ALONE = replace(RECIPE, validation_share=0)  # nothing to validate by


def found(paths, cache, settings=SMALL, recipe=RECIPE, **selection):
    return find_episodes(bags_of(paths), settings, recipe, Selection(**selection), Cache(cache))


def read(paths, cache, recipe=RECIPE, **more):
    """All of it, from bags to entries."""
    return decode(found(paths, cache, recipe=recipe, **more), Cache(cache))


def kept(cache):
    """What is in a cache, but for the file by which it is locked."""
    return [path for path in cache.iterdir() if path.name != LOCK]


def everything(samples):
    return samples.batch(np.arange(len(samples)))


def not_numbers(messages, what, times=(0.6, 0.8)):
    """A recording in which values are NaN for a while."""
    for m in messages:
        if m.what == what and times[0] * 1e9 <= m.time < times[1] * 1e9:
            m.content.position[2] = np.nan
    return messages
