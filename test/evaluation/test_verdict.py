"""Whether a policy is of use, in a sentence."""

import pytest

from act_ros.evaluation.report.verdict import verdict

GROUPS = 'joints', 'gripper'


def groups(errors):
    return {name: {'mae': mae} for name, mae in zip(GROUPS, errors, strict=True)}


def total(policy, hold, mean, chunks=(0.1, 0.1), standing=(1.0, 1.0)):
    """Errors of the groups; of chunks, at each of two entries."""
    return {
        'groups': groups(policy),
        'baselines': {'hold the pose': groups(hold), 'mean': groups(mean)},
        'horizon': groups([[mae, mae] for mae in chunks]),
        'horizon_standing': groups([[0.0, 2 * mae] for mae in standing]),
    }


def test_a_policy_that_beats_both_everywhere():
    found = verdict(total((0.1, 0.2), (0.5, 0.4), (1.0, 0.3)))
    assert found['of_use'] is found['beats_both'] is True
    assert found['ratio'] == {'joints': pytest.approx(0.2), 'gripper': pytest.approx(0.2 / 0.3)}
    assert found['rivals'] == {'joints': 'hold the pose', 'gripper': 'mean'}
    assert found['least'] == {'joints': 0.1, 'gripper': 0.2}
    assert found['chunks'] == {'joints': pytest.approx(0.1), 'gripper': pytest.approx(0.1)}
    assert found['text'].startswith('The policy beats both: its error is, in parts of the better')
    assert '0.2 in joints, 0.67 in gripper' in found['text']


def test_a_policy_that_loses_somewhere():
    found = verdict(total((0.1, 0.6), (0.5, 0.4), (1.0, 0.3)))
    assert found['of_use'] is found['beats_both'] is False
    assert found['least'] == {'joints': 0.1, 'gripper': 0.3}
    assert "The policy does not beat 'mean' in gripper (2 times its error)." in found['text']
    assert 'Elsewhere it beats both' in found['text'] and '0.2 in joints' in found['text']


def test_a_policy_that_loses_everywhere_is_told_no_more():
    found = verdict(total((2.0, 2.0), (0.5, 0.4), (1.0, 0.3)))
    assert "'hold the pose' in joints (4 times" in found['text']
    assert 'Elsewhere' not in found['text']


def test_a_policy_that_only_repeats_what_is_measured_is_of_no_use():
    found = verdict(total((0.1, 0.2), (0.5, 0.4), (1.0, 0.3), chunks=(1.0, 0.2)))
    assert found['beats_both'] is True and found['of_use'] is False
    assert 'by 1 in joints, 0.2 in gripper' in found['text']


def test_nothing_scored_is_no_verdict():
    nothing = total((None, None), (None, None), (None, None), (None, None), (0.0, 0.0))
    found = verdict(nothing)
    assert found['of_use'] is found['beats_both'] is None
    assert found['text'] == 'Nothing was scored.'
