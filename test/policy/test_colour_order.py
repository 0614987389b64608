"""What is given to `predict` is RGB, whatever the policy was trained with."""

import numpy as np
import pytest

from act_ros.errors import ParameterError
from act_ros.policy import load_policy
from test.rule import vector, write_checkpoint


def test_a_bgr_policy_sees_rgb_frames_with_red_and_blue_exchanged(tmp_path):
    folder = write_checkpoint(tmp_path)
    rgb = load_policy(folder, device='cpu')
    bgr = load_policy(folder, device='cpu', colour_order='bgr')
    qpos, images = vector('small').observation(0)
    exchanged = {name: np.ascontiguousarray(frame[..., ::-1]) for name, frame in images.items()}
    chunk = bgr.predict(qpos, images)
    np.testing.assert_allclose(chunk, rgb.predict(qpos, exchanged), rtol=0, atol=1e-5)
    assert not np.allclose(chunk, rgb.predict(qpos, images), atol=1e-4)


def test_another_order_is_refused(tmp_path):
    with pytest.raises(ParameterError) as caught:
        load_policy(write_checkpoint(tmp_path), device='cpu', colour_order='grb')
    assert str(caught.value) == "colour_order is 'grb', expected rgb or bgr"
