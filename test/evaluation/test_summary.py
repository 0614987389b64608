"""What came of an evaluation, in a sentence."""

import pytest

from act_ros.evaluation.report.summary import in_one_sentence


def checkpoint(ratio, *, rivals=None, chunks=None, limited=0, refused=None, hits=None):
    return {
        'total': {
            'ticks': {'looked': 400},
            'limits': {'hits': hits or {}, 'limited_ticks': limited, 'refused': refused or {}},
        },
        'verdict': {
            'ratio': ratio,
            'rivals': rivals or dict.fromkeys(ratio, 'hold the pose'),
            'chunks': chunks or {},
        },
        'worst': [
            {'bag': 'run', 'episode': 'episode 2', 'seconds': 12.41, 'error_normalised': 2.0},
            {'bag': 'run', 'episode': 'episode 0', 'seconds': 3.0, 'error_normalised': 1.0},
        ],
    }  # fmt: skip


HITS = {'step': {'arm/a/position': 3}, 'range': {'arm/b/position': 7, 'arm/a/position': 1}}


def test_all_of_it():
    found = in_one_sentence(checkpoint({'joints': 1 / 3.1}, limited=8, hits=HITS), 1)
    assert found == (
        'Beats holding the pose by 3.1×; would have been limited in 2 % of ticks (mostly range '
        'of arm/b/position); worst at 12.4 s.'
    )


@pytest.mark.parametrize(('ratio', 'said'), [
    ({'joints': 0.1, 'gripper': 0.5}, 'Beats holding the pose by 2.0× or more (least in gripper)'),
    ({'joints': 0.1, 'gripper': 1.25}, 'Does not beat holding the pose in gripper (1.2×'),
    ({'joints': 0.0}, 'Beats holding the pose by over 1000×;'),
    ({'joints': 4e11}, 'Does not beat holding the pose (over 1000× its error);'),
    ({}, 'Nothing was scored;'),
])  # fmt: skip
def test_the_group_that_is_least_better_counts(ratio, said):
    assert in_one_sentence(checkpoint(ratio), 1).startswith(said)


def test_of_the_baselines_the_better_one_is_named():
    found = checkpoint({'joints': 0.5}, rivals={'joints': 'mean of the recording'})
    assert in_one_sentence(found, 1).startswith('Beats the mean of the recording by 2.0×;')


def test_a_policy_that_only_repeats_what_is_measured_is_told():
    found = checkpoint({'joints': 0.5}, chunks={'joints': 1.2, 'gripper': 0.4})
    said = in_one_sentence(found, 1)
    assert 'but its whole chunks do not beat standing still in joints;' in said


def test_of_limits_is_told_what_would_have_happened():
    ratio = {'joints': 0.5}
    assert 'would not have been limited' in in_one_sentence(checkpoint(ratio), 1)
    few = checkpoint(ratio, limited=1, hits=HITS)
    assert 'limited in less than 1 % of ticks' in in_one_sentence(few, 1)
    refused = checkpoint(ratio, refused={'arm/a': 2})
    assert 'would at times not have begun' in in_one_sentence(refused, 1)


def test_of_several_episodes_the_worst_is_named_and_none_where_none_is_known():
    found = checkpoint({'joints': 0.5})
    assert in_one_sentence(found, 3).endswith('worst at 12.4 s of run, episode 2.')
    found['worst'] = []
    assert 'worst' not in in_one_sentence(found, 1)
