"""The network on a CUDA device."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from act_ros.errors import PolicyError
from act_ros.policy import PolicyProcess, load_policy
from test.rule import VECTORS, small_config, vector, write_checkpoint, write_random

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')

REFERENCE = vector('small')
BREAK = 101.0  # in qpos[0]


def load_breakable(*args, **options):
    """A policy whose device is lost when the observation says so."""
    policy = load_policy(*args, **options)
    predict = policy.predict

    def breakable(qpos, images):
        if qpos[0] == BREAK:
            # Outside the tensor: the kernel stops with an assertion, and the context with it.
            torch.zeros(1, device='cuda')[torch.tensor([5], device='cuda')]
        return predict(qpos, images)

    policy.predict = breakable
    return policy


@pytest.fixture(scope='module')
def ckpt(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('ckpt'))


@pytest.fixture
def process():
    """Start a process; closed whatever happens."""
    started = []

    def run(load):
        started.append(PolicyProcess(load, torch_threads=1))
        return started[-1]

    yield run
    for policy in started:
        policy.close()


@pytest.fixture
def no_more_memory():
    """Let the process have no more of the device's memory than it has."""

    def stop():
        gc.collect()
        torch.cuda.empty_cache()
        _, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / total)

    torch.zeros(1, device='cuda')
    yield stop
    torch.cuda.set_per_process_memory_fraction(1.0)


def normalised(policy, chunk):
    return (chunk - policy.statistics.action_mean) / policy.statistics.action_std


@pytest.mark.parametrize('name', VECTORS)
def test_float32_equals_the_public_implementation(name, tmp_path):
    reference = vector(name)
    # As torch has it by default: ten bits of mantissa in convolutions.
    torch.backends.cudnn.allow_tf32 = True
    policy = load_policy(write_checkpoint(tmp_path, name), device='cuda')
    assert policy.engine.name == 'cuda graphs float32'
    for i in range(reference.about['n']):
        found = normalised(policy, policy.predict(*reference.observation(i)))
        np.testing.assert_allclose(found, reference.chunks[i], rtol=0, atol=1e-4)


@pytest.mark.parametrize(('precision', 'bound'), [('bfloat16', 0.1), ('float16', 0.02)])
def test_half_precision_is_within_the_bound(precision, bound, tmp_path):
    folder = write_checkpoint(tmp_path, 'full')
    policy = load_policy(folder, device='cuda', precision=precision, max_deviation=1.0)
    reference = vector('full')
    observations = [reference.observation(i) for i in range(2)]
    chunks = [policy.predict(*observations[0]), *policy.predict_batch(observations)]
    for chunk, i in zip(chunks, (0, 0, 1), strict=True):
        assert np.abs(normalised(policy, chunk) - reference.chunks[i]).max() < bound


@pytest.mark.parametrize('name', ['small', 'per_camera'])
@pytest.mark.parametrize('precision', ['float32', 'float16'])
def test_an_observation_always_gives_the_same_digits(name, precision, tmp_path):
    reference = vector(name)
    folder = write_checkpoint(tmp_path, name)
    first, other = (
        load_policy(folder, device='cuda', precision=precision, max_deviation=1.0)
        for _ in range(2)
    )
    expected = [first.predict(*reference.observation(i)) for i in range(3)]
    for i in (2, 0, 1):
        np.testing.assert_array_equal(other.predict(*reference.observation(i)), expected[i])
        first.forget_frames()
        np.testing.assert_array_equal(first.predict(*reference.observation(i)), expected[i])


def test_a_policy_runs_while_another_is_loaded(ckpt):
    running = load_policy(ckpt, device='cuda')
    expected = running.predict(*REFERENCE.observation(0))
    loaded, passes = threading.Event(), []

    def run():
        while not loaded.is_set() or len(passes) < 10:
            running.forget_frames()
            passes.append(running.predict(*REFERENCE.observation(0)))

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run)
        try:
            for _ in range(5):
                policy = load_policy(ckpt, device='cuda')
                found = policy.predict(*REFERENCE.observation(0))
                np.testing.assert_array_equal(found, expected)
        finally:
            loaded.set()
        answer.result()
    for found in passes:
        np.testing.assert_array_equal(found, expected)


def test_several_threads_load_policies_at_the_same_time(ckpt):
    def load(_):
        return load_policy(ckpt, device='cuda').predict(*REFERENCE.observation(0))

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(load, range(6))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_policies_come_and_go(ckpt):
    # There are 32 streams: the 33rd policy shares the first one's, and takes nothing with it.
    first = load_policy(ckpt, device='cuda')
    expected = first.predict(*REFERENCE.observation(0))
    torch.cuda.empty_cache()
    for _ in range(33):
        load_policy(ckpt, device='cuda').predict(*REFERENCE.observation(1))
        gc.collect()
        torch.cuda.empty_cache()
        first.forget_frames()
        np.testing.assert_array_equal(first.predict(*REFERENCE.observation(0)), expected)


def test_a_load_for_which_memory_is_short_is_one_line(ckpt, no_more_memory):
    no_more_memory()
    with pytest.raises(PolicyError, match=r'^cuda: CUDA out of memory\. Tried to allocate .*'):
        load_policy(ckpt, device='cuda')


@pytest.mark.parametrize('precision', ['float32', 'float16'])
def test_after_a_pass_for_which_memory_is_short_the_next_is_well(
    precision, tmp_path, no_more_memory
):
    write_random(tmp_path, small_config(), image_size=[480, 640])
    policy = load_policy(tmp_path, device='cuda', precision=precision, max_deviation=1.0)
    rng = np.random.default_rng(0)
    observations = [
        (rng.normal(size=17).astype(np.float32),
         {name: rng.integers(0, 256, (480, 640, 3), np.uint8) for name in policy.task.cameras})
        for _ in range(4)
    ]  # fmt: skip
    expected = policy.predict(*observations[0])
    no_more_memory()
    with pytest.raises(PolicyError, match='too little memory for a pass of 4 observations'):
        policy.predict_batch(observations)
    np.testing.assert_array_equal(policy.predict(*observations[0]), expected)


def test_in_a_process_of_its_own_it_is_the_policy_itself(ckpt, process):
    direct = load_policy(ckpt, device='cuda')
    there = process('act_ros.policy:load_policy')
    there.load(ckpt, device='cuda')
    assert there.about.engine == 'cuda graphs float32'
    for i in range(3):
        np.testing.assert_array_equal(
            there.predict(*REFERENCE.observation(i)), direct.predict(*REFERENCE.observation(i))
        )


def test_a_lost_device_is_named_and_a_new_process_has_it(ckpt, process):
    policy = process(f'{__name__}:load_breakable')
    policy.load(ckpt, device='cuda')
    qpos, images = REFERENCE.observation(0)
    expected = policy.predict(qpos, images)
    broken = qpos.copy()
    broken[0] = BREAK
    for each in (broken, qpos, qpos):
        with pytest.raises(PolicyError, match=(
            r'^cuda: CUDA error: device-side assert triggered; this process cannot use the device '
            r'any more: clean up and configure the node again, or start the program again$'
        )):  # fmt: skip
            policy.predict(each, images)
    policy.close()
    policy = process(f'{__name__}:load_breakable')
    policy.load(ckpt, device='cuda')
    np.testing.assert_array_equal(policy.predict(qpos, images), expected)
