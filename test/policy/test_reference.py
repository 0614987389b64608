"""The public implementation's chunks and actions, from the same weights and inputs."""

import numpy as np
import pytest

from act_ros.policy import Rollout, load_policy
from test.rule import VECTORS, vector, write_checkpoint

TOLERANCE = 1e-4


@pytest.mark.parametrize('engine', ['torch', 'openvino', 'onnx'])
@pytest.mark.parametrize('name', VECTORS)
def test_chunks_and_actions_equal_the_public_implementation(name, engine, tmp_path):
    pytest.importorskip({'openvino': 'openvino', 'onnx': 'onnxruntime'}.get(engine, 'torch'))
    reference = vector(name)
    policy = load_policy(write_checkpoint(tmp_path, name), device='cpu', engine=engine)
    rollout = Rollout(policy)
    statistics = policy.statistics

    for i in range(reference.about['n']):
        observation = reference.observation(i)
        chunk = policy.predict(*observation)
        normalised = (chunk - statistics.action_mean) / statistics.action_std
        np.testing.assert_allclose(normalised, reference.chunks[i], rtol=0, atol=TOLERANCE)
        action = rollout.act(*observation)
        np.testing.assert_allclose(action, reference.aggregated[i], rtol=0, atol=TOLERANCE)


def test_a_batch_equals_one_by_one(tmp_path):
    reference = vector('small')
    policy = load_policy(write_checkpoint(tmp_path), device='cpu')
    observations = [reference.observation(i) for i in range(4)]
    batch = policy.predict_batch(observations)
    single = np.stack([policy.predict(*each) for each in observations])
    np.testing.assert_allclose(batch, single, rtol=0, atol=1e-5)
