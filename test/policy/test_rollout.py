"""The evaluation loop without aggregation, as the public code runs it."""

import numpy as np
import pytest

from act_ros.errors import ObservationError, ParameterError
from act_ros.parameters import Settings
from act_ros.policy import Rollout, load_policy
from test.rule import vector, write_checkpoint


@pytest.fixture(scope='module')
def policy(tmp_path_factory):
    return load_policy(write_checkpoint(tmp_path_factory.mktemp('ckpt')), device='cpu')


@pytest.fixture(scope='module')
def reference():
    return vector('small')


@pytest.mark.parametrize('query_every', [0, 1, 3, 8])
def test_without_aggregation_equals_the_public_loop(policy, reference, query_every):
    every = query_every or policy.chunk_size
    rollout = Rollout(policy, Settings(temporal_aggregation=False, query_every=query_every))
    for t in range(12):
        if t % every == 0:
            all_actions = policy.predict(*reference.observation(t))
        expected = all_actions[t % every]
        np.testing.assert_array_equal(rollout.act(*reference.observation(t)), expected)


def test_reset_begins_at_step_0(policy, reference):
    rollout = Rollout(policy)
    first = rollout.act(*reference.observation(0))
    rollout.act(*reference.observation(1))
    rollout.reset()
    np.testing.assert_array_equal(rollout.act(*reference.observation(0)), first)


def test_a_refused_observation_is_no_step(policy, reference):
    plain, disturbed = Rollout(policy), Rollout(policy)
    qpos, images = reference.observation(1)
    for i in range(3):
        expected = plain.act(*reference.observation(i))
        with pytest.raises(ObservationError, match='qpos'):
            disturbed.act(qpos[:-1], images)
        np.testing.assert_array_equal(disturbed.act(*reference.observation(i)), expected)


def test_refuses_a_query_interval_longer_than_a_chunk(policy):
    with pytest.raises(ParameterError, match='query_every is 9, but a chunk has 8'):
        Rollout(policy, Settings(temporal_aggregation=False, query_every=9))


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda q, i: (q.tolist(), i), 'qpos is a list, expected a float32 or float64 array'),
        (lambda q, i: (q.astype(np.int32), i), 'qpos is a int32 array'),
        (lambda q, i: (q[None], i), r'qpos has shape \(1, 17\), expected \(17,\)'),
        (lambda q, i: (np.where(np.arange(17) == 9, np.nan, q), i),
         r'qpos\[9\] \(arm/left_joint_1/position\) is nan'),
        (lambda q, i: (q, list(i.values())), 'images is a list, expected a dict'),
        (lambda q, i: (q, {**i, 'rgb_top': i['rgb_main']}), "unknown camera 'rgb_top'"),
        (lambda q, i: (q, {k: v for k, v in i.items() if k != 'rgb_left'}),
         "camera 'rgb_left' is missing"),
        (lambda q, i: (q, {**i, 'rgb_left': i['rgb_left'].tolist()}), "'rgb_left' is a list"),
        (lambda q, i: (q, {**i, 'rgb_left': i['rgb_left'][:-1]}), r'\(119, 160, 3\) uint8'),
        (lambda q, i: (q, {**i, 'rgb_left': i['rgb_left'] / 255}), r'float64, expected'),
    ],
)  # fmt: skip
def test_names_what_is_wrong_with_an_observation(policy, reference, spoil, message):
    with pytest.raises(ObservationError, match=message):
        policy.predict(*spoil(*reference.observation(0)))
