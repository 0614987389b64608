"""Every way to run the network gives what the plain network gives."""

import copy
import importlib.util
import sys

import numpy as np
import pytest
import torch

from act_ros.errors import ActError, ParameterError
from act_ros.policy import load_policy
from act_ros.policy.checkpoint import read_checkpoint
from act_ros.policy.engine import make_engine
from act_ros.policy.token_cache import MOST_SOURCES, TokenCache
from act_ros.policy.torch_engine import plain_text
from detr import detr_vae
from detr.inference import Actions, Vision
from test.rule import VECTORS, small_config, vector, write_checkpoint, write_random

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
OPENVINO = pytest.mark.skipif(
    importlib.util.find_spec('openvino') is None, reason='openvino is not installed'
)
ONNX = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ('onnxruntime', 'onnxscript')),
    reason='onnxruntime and onnxscript are not installed',
)


def provider(name):
    """A mark of what needs onnxruntime's provider of that name, and a device for it."""
    there = False
    if torch.cuda.is_available() and importlib.util.find_spec('onnxruntime'):
        import onnxruntime

        there = f'{name}ExecutionProvider' in onnxruntime.get_available_providers()
    return pytest.mark.skipif(not there, reason=f'no {name} provider of onnxruntime')


ENGINES = [
    pytest.param({'device': 'cpu', 'engine': 'torch'}, id='torch'),
    pytest.param({'device': 'cpu', 'engine': 'openvino'}, id='openvino', marks=OPENVINO),
    pytest.param({'device': 'cpu', 'engine': 'onnx'}, id='onnx', marks=ONNX),
    pytest.param({'device': 'cuda', 'engine': 'torch'}, id='cuda', marks=CUDA),
    pytest.param(
        {'device': 'cuda', 'engine': 'onnx'}, id='onnx on cuda', marks=provider('CUDA')
    ),
    pytest.param(
        {'device': 'cuda', 'engine': 'tensorrt'}, id='tensorrt', marks=provider('Tensorrt')
    ),
]


def plain_network(folder):
    checkpoint = read_checkpoint(folder)
    return checkpoint.network(), checkpoint


def normalise_doubled(images, statistics):
    mean, std = (
        torch.tensor(values, dtype=torch.float64)[:, None, None]
        for values in (statistics[0].mean, statistics[0].std)
    )
    return (images.double() / 255 - mean) / std


@pytest.mark.parametrize('name', VECTORS)
def test_the_inference_form_equals_the_plain_network(name, tmp_path, monkeypatch):
    reference = vector(name)
    network, checkpoint = plain_network(write_checkpoint(tmp_path, name))
    vision = [Vision(network, i) for i in range(len(network.backbones))]
    statistics, about = checkpoint.statistics, reference.about
    grid = -(-about['height'] // 32), -(-about['width'] // 32)
    actions = Actions(network, [grid] * 3)
    exact = copy.deepcopy(network).double()
    for i in range(2):
        qpos, frames = reference.qpos[i], torch.from_numpy(reference.images[i].copy())
        state = torch.from_numpy((qpos - statistics.qpos_mean) / statistics.qpos_std)[None]
        images = frames.permute(0, 3, 1, 2)[None]
        with torch.inference_mode():
            tokens = [vision[c % len(vision)](frames[c : c + 1]) for c in range(3)]
            found = actions(state, torch.cat(tokens, dim=1))
            plain = network(state, images)
            with monkeypatch.context() as patch:
                patch.setattr(detr_vae, 'normalise_images', normalise_doubled)
                truth = exact(state.double(), images)
        # Against the plain network without its own rounding. In float32 that is as far from it
        # as the inference form is, and at the deployed size 1.3e-5 from the latter.
        assert (found - truth).abs().max() < 1e-5
        assert (found - plain).abs().max() < 2e-5


@pytest.mark.parametrize('bgr', [False, True])
def test_pixels_at_the_border_count_as_they_do_in_the_plain_network(tmp_path, bgr):
    network = write_random(tmp_path, small_config(num_backbones=3))
    frame = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    frame[:, [0, 1, -1, -2]] = 255
    frame[:, :, [0, -1], 0] = 200
    backbone = network.backbones[1][0]
    with torch.inference_mode():
        channels = frame.flip(3) if bgr else frame
        expected = network.input_proj(
            backbone(detr_vae.normalise_images(channels.permute(0, 3, 1, 2)))
        )
        found = Vision(network, 1, bgr)(frame)
    scale = expected.abs().max()
    torch.testing.assert_close(
        found, detr_vae.to_tokens(expected), rtol=0, atol=1e-5 * float(scale)
    )


def test_making_an_engine_leaves_the_network_as_it_was(tmp_path):
    network, _ = plain_network(write_checkpoint(tmp_path))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    task = load_policy(tmp_path, device='cpu').task
    make_engine(network, task, device=torch.device('cpu'), precision='bfloat16',
                max_deviation=1.0)  # fmt: skip
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize('options', ENGINES)
def test_batches_and_known_frames_change_nothing(options, tmp_path):
    reference = vector('small')
    policy = load_policy(write_checkpoint(tmp_path), **options)
    observations = [reference.observation(i) for i in range(4)]
    # The second again, but for one camera: two of three frames are known.
    qpos, images = observations[1]
    observations[2] = qpos, {**images, 'rgb_left': observations[3][1]['rgb_left']}
    single = []
    for each in observations:
        policy.warm_up()  # forgets all frames
        single.append(policy.predict(*each))
    for size in (1, 2, 4):
        policy.warm_up()
        found = np.concatenate(
            [policy.predict_batch(observations[i : i + size]) for i in range(0, 4, size)]
        )
        # On CUDA other batch sizes have other kernels.
        bound = 1e-4 if options['device'] == 'cuda' else 1e-5
        np.testing.assert_allclose(found, single, rtol=0, atol=bound)


def test_a_pass_for_which_memory_is_short_is_one_line(tmp_path, monkeypatch):
    policy = load_policy(write_checkpoint(tmp_path), device='cpu')

    def decode(*_):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')

    monkeypatch.setattr(policy.engine, 'decode', decode)
    with pytest.raises(ActError, match='too little memory for a pass of 1 observations'):
        policy.predict(*vector('small').observation(0))


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        (
            'CUDA error: device-side assert triggered\n'
            "Search for `cudaErrorAssert' in https://docs.nvidia.com/cuda/ for more information.\n"
            'CUDA kernel errors might be asynchronously reported at some other API call.\n',
            'CUDA error: device-side assert triggered',
        ),
        (
            'CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously '
            'reported at some other API call.\nFor debugging consider CUDA_LAUNCH_BLOCKING=1',
            'CUDA error: unspecified launch failure',
        ),
        (
            'Exception from core.cpp:1:\n  no such device',
            'Exception from core.cpp:1: no such device',
        ),
        ('x' * 1000, 'x' * 200),
        ('', 'RuntimeError'),
    ],
)
def test_what_a_library_says_is_one_line_without_its_advice(text, line):
    assert plain_text(RuntimeError(text)) == line


class Counting:
    """An engine whose tokens are what it was shown."""

    name, parameter, frames_at_once = 'counting', 'torch', 2

    def __init__(self):
        self.shown = []
        self.fails = False

    def encode(self, frames, cameras):
        if self.fails:
            raise RuntimeError('out of memory')
        assert len(frames) <= self.frames_at_once
        self.shown += list(cameras)
        return [(camera, int(frame[0, 0, 0])) for frame, camera in
                zip(frames, cameras, strict=True)]  # fmt: skip


def frames(*values):
    return {name: np.full((4, 4, 3), value, np.uint8)
            for name, value in zip('abc', values, strict=True)}  # fmt: skip


def test_only_frames_that_changed_are_encoded():
    engine = Counting()
    cache = TokenCache(engine, 'abc')
    assert cache.tokens([frames(1, 2, 3)]) == [[(0, 1), (1, 2), (2, 3)]]
    assert cache.tokens([frames(1, 2, 4)]) == [[(0, 1), (1, 2), (2, 4)]]
    assert engine.shown == [0, 1, 2, 2]
    # One byte, in the same array: it is the content that counts.
    images = frames(1, 2, 4)
    cache.tokens([images])
    images['b'][3, 3, 2] ^= 1
    images['b'][0, 0, 0] = 9
    assert cache.tokens([images]) == [[(0, 1), (1, 9), (2, 4)]]
    assert engine.shown == [0, 1, 2, 2, 1]


def test_a_batch_encodes_each_new_frame_once():
    engine = Counting()
    cache = TokenCache(engine, 'abc')
    rows = cache.tokens([frames(1, 2, 3), frames(1, 2, 4), frames(5, 2, 4), frames(1, 2, 3)])
    assert [[value for _, value in row] for row in rows] == [
        [1, 2, 3], [1, 2, 4], [5, 2, 4], [1, 2, 3],
    ]  # fmt: skip
    assert sorted(engine.shown) == [0, 0, 0, 1, 2, 2, 2]


def test_frames_are_compared_with_those_of_the_same_source():
    engine = Counting()
    cache = TokenCache(engine, 'abc')
    ours, theirs = frames(1, 2, 3), frames(4, 5, 6)
    for _ in range(3):  # in turns, and in one batch
        cache.tokens([ours], ['one'])
        cache.tokens([theirs], ['two'])
        rows = cache.tokens([theirs, ours], ['two', 'one'])
        assert [[value for _, value in row] for row in rows] == [[4, 5, 6], [1, 2, 3]]
    assert engine.shown == [0, 1, 2, 0, 1, 2]
    cache.tokens([ours])  # of nobody in particular, which is another one
    assert len(engine.shown) == 9


def test_the_source_that_was_not_here_for_longest_makes_room():
    engine = Counting()
    cache = TokenCache(engine, 'abc')
    for source in range(MOST_SOURCES):
        cache.tokens([frames(1, 2, 3)], [source])
    cache.tokens([frames(1, 2, 3)], [0])
    cache.tokens([frames(1, 2, 3)], ['another'])
    engine.shown.clear()
    cache.tokens([frames(1, 2, 3)], [0])
    assert engine.shown == []
    cache.tokens([frames(1, 2, 3)], [1])
    assert engine.shown == [0, 1, 2]


def test_after_a_failure_everything_is_encoded_again():
    engine = Counting()
    cache = TokenCache(engine, 'abc')
    cache.tokens([frames(1, 2, 3)])
    engine.fails = True
    with pytest.raises(RuntimeError):
        cache.tokens([frames(1, 2, 4)])
    engine.fails = False
    assert cache.tokens([frames(1, 2, 4)]) == [[(0, 1), (1, 2), (2, 4)]]
    assert engine.shown == [0, 1, 2, 0, 1, 2]


def test_a_lower_precision_is_measured_and_refused_where_it_deviates_too_far(tmp_path, caplog):
    caplog.set_level('INFO')
    folder = write_checkpoint(tmp_path)
    policy = load_policy(folder, device='cpu', precision='bfloat16', max_deviation=1.0)
    assert policy.engine.name == 'torch bfloat16'
    (line,) = [r.message for r in caplog.records if 'deviates' in r.message]
    assert float(line.split(' by ')[1].split()[0]) > 1e-4
    with pytest.raises(ActError, match='more than max_deviation 1e-06; use another precision'):
        load_policy(folder, device='cpu', precision='bfloat16', max_deviation=1e-6)


@OPENVINO
@ONNX
def test_auto_measures_and_says_what_it_chose(tmp_path, caplog):
    caplog.set_level('INFO')
    policy = load_policy(write_checkpoint(tmp_path), device='cpu', engine='auto')
    (line,) = [r.message for r in caplog.records if r.message.startswith('engine auto')]
    assert policy.engine.name in ('torch float32', 'openvino float32', 'onnx float32')
    assert line.startswith(f'engine auto: {policy.engine.name} (torch float32 ')
    assert 'openvino float32' in line and 'onnx float32' in line


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'precision': 'float16'}, 'needs a CUDA device'),
        ({'precision': 'float8'}, "precision is 'float8', expected one of float32"),
        ({'engine': 'jax'}, "engine is 'jax', expected one of auto, torch, openvino, onnx"),
        ({'engine': 'tensorrt'}, 'engine is tensorrt, which needs a CUDA device, not cpu'),
        ({'engine': 'onnx', 'precision': 'bfloat16'}, 'onnx, which has no bfloat16 on cpu'),
        ({'colour_order': 'gbr'}, "colour_order is 'gbr', expected rgb or bgr"),
        ({'engine': 'openvino', 'device': 'cuda'}, 'device is .cuda.|runs on the CPU'),
    ],
)
def test_what_there_is_not_is_refused(tmp_path, options, text):
    with pytest.raises(ParameterError, match=text):
        load_policy(write_checkpoint(tmp_path), **{'device': 'cpu', **options})


@OPENVINO
def test_auto_does_without_what_does_not_do(tmp_path, caplog):
    caplog.set_level('INFO')
    import openvino

    if 'BF16' in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        pytest.skip('this CPU has bfloat16')
    policy = load_policy(write_checkpoint(tmp_path), device='cpu', engine='auto',
                         precision='bfloat16', max_deviation=1.0)  # fmt: skip
    assert policy.engine.name == 'torch bfloat16'
    assert any('not used: precision is bfloat16' in r.message for r in caplog.records)


def test_no_observations_are_no_chunks(tmp_path):
    policy = load_policy(write_checkpoint(tmp_path), device='cpu')
    assert policy.predict_batch([]).shape == (0, policy.chunk_size, 16)


def test_without_openvino_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(ParameterError, match=r"not installed: pip install 'act_ros\[openvino\]'"):
        load_policy(write_checkpoint(tmp_path), device='cpu', engine='openvino')
