"""`python -m act_ros.train`, as a user meets it."""

import contextlib
import fcntl
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import termios

import cv2
import numpy as np
import pytest
import yaml

from act_ros.config import task_file
from act_ros.parameter_file import read_parameter_file
from act_ros.policy import load_policy
from act_ros.train import main
from act_ros.training import dataset, team
from test.bags import bags
from test.bags.bags import write
from test.processes import started
from test.readme.clone import free_port
from test.training.recordings import kept
from test.waiting import wait_until

RECIPE = """
chunk_size: 20
hidden_dim: 32
feedforward_dim: 32
encoder_layers: 1
decoder_layers: 1
heads: 4
backbone_width: 8
batch_size: 4
lr: 1e-3
lr_backbone: 1e-3
sample_every: 4
steps: 40
validate_every: 10
device: cpu
workers: 1
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Three bags in a folder, parameters and a recipe that fit each other, and a cache."""
    folder = tmp_path_factory.mktemp('train')
    for i in range(3):
        write(folder / 'bags' / f'run{i}', bags.run(1, seed=i))
    content = {'/**': {'ros__parameters': {'task': {'image_size': list(bags.SIZE)}}}}
    (folder / 'small.yaml').write_text(yaml.safe_dump(content))
    (folder / 'recipe.yaml').write_text(RECIPE)
    return folder


@pytest.fixture(autouse=True)
def signals():
    """They are handled after each test as before."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def call(folder, tmp_path, capsys):
    """Call the command line with what fits, but for the changes."""

    def run(*more, given=(folder / 'bags',), params=folder / 'small.yaml', out=tmp_path / 'out'):
        code = main([*map(str, given), '--params-file', str(params), '--out', str(out),
                     '--recipe', str(folder / 'recipe.yaml'), '--cache', str(folder / 'cache'),
                     *more])  # fmt: skip
        return code, capsys.readouterr(), out

    return run


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    """What an uninterrupted training leaves."""
    out = tmp_path_factory.mktemp('trained') / 'ckpt'
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(command(folder, out)[3:]) == 0
    return out


def command(folder, out, *more):
    return [sys.executable, '-m', 'act_ros.train', str(folder / 'bags'), '--params-file',
            str(folder / 'small.yaml'), '--out', str(out), '--recipe',
            str(folder / 'recipe.yaml'), *more]  # fmt: skip


def check_refusal(code, said, text):
    (line,) = [line for line in said.err.splitlines() if 'error' in line]
    assert line.startswith('train: error: ') and text in line
    assert 'Traceback' not in said.err
    assert code == 2


def test_it_leaves_a_checkpoint_that_runs_and_says_what_it_was_made_of(trained):
    assert {path.name for path in trained.iterdir()} == {
        'config.yaml', 'dataset_stats.pkl', 'policy_best.ckpt', 'training.json', 'training.png',
    }  # fmt: skip
    assert trained.with_name('ckpt.cache').is_dir()
    policy = load_policy(trained, device='cpu')
    assert policy.task.image_size == bags.SIZE and policy.chunk_size == 20
    frames = {name: np.zeros((*bags.SIZE, 3), np.uint8) for name in policy.task.cameras}
    assert np.isfinite(policy.predict(np.zeros(17, np.float32), frames)).all()
    about = json.loads((trained / 'training.json').read_text())
    assert about['ended'] == '40 steps'
    assert about['bags'] == 'bags'
    uses = [episode['use'] for episode in about['episodes'].values()]
    assert sorted(uses) == ['train', 'train', 'validation']
    assert [*about['episodes']] == [f'run{i}, episode 0' for i in range(3)]
    assert about['samples'] == {'train': 26, 'validation': 13}
    assert about['recipe']['lr'] == 1e-3 and about['recipe']['seed'] == 0
    assert about['parameters']['task.image_size'] == list(bags.SIZE)
    assert [each['step'] for each in about['validations']] == [10, 20, 30, 40]
    losses = [each['validation']['l1'] for each in about['validations']]
    assert about['best']['validation']['l1'] == min(losses)
    assert cv2.imread(str(trained / 'training.png')).shape == (650, 1100, 3)


def test_it_says_how_it_goes_without_a_terminal(call):
    code, said, out = call('--steps', '4', '--validate-every', '2')
    assert code == 0
    assert '26 samples of 2 episodes to train on, 13 of 1 to validate by' in said.err
    assert 'step 2 (epoch 0.3): train loss ' in said.err
    assert 'ended: 4 steps; best: step ' in said.err
    assert f'checkpoint: {out}' in said.err


def test_what_is_there_is_not_overwritten(call, trained, tmp_path):
    out = tmp_path / 'done'
    shutil.copytree(trained, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    code, said, _ = call(out=out)
    check_refusal(code, said, f'{out} holds a training (40 steps); give another --out')
    code, said, _ = call('--resume', out=out)
    assert code == 0 and 'holds a finished training: 40 steps' in said.out
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'precious').write_text('x')
    code, said, _ = call(out=tmp_path / 'other')
    check_refusal(code, said, 'exists and is no training; give another --out')
    assert [path.name for path in (tmp_path / 'other').iterdir()] == ['precious']


def saved(out):
    """When the state was saved last [ns]."""
    state = out / 'training_state.pt'
    return state.stat().st_mtime_ns if state.exists() else 0


def test_interrupted_it_goes_on_and_comes_to_the_same(call, folder, trained, tmp_path):
    out = tmp_path / 'out'
    slow = command(folder, out, '--cache', str(folder / 'cache'), '--save-every', '0')
    for number in (signal.SIGINT, signal.SIGKILL):
        with started([*slow, '--resume'], stderr=subprocess.PIPE, text=True) as process:
            before = saved(out)
            wait_until(lambda: saved(out) > before, 120, 'a state')  # noqa: B023
            process.send_signal(number)
            text = process.communicate(timeout=60)[1]
        assert process.returncode == (130 if number == signal.SIGINT else -number), text
        assert 'Traceback' not in text
        assert json.loads((out / 'training.json').read_text())['ended'] is None
    code, said, _ = call()
    check_refusal(code, said, 'holds an interrupted training; give another --out, or --resume')
    code, said, _ = call('--resume', '--lr', '0.5')
    check_refusal(code, said, 'a training with other recipe: lr was 0.001, now it is 0.5; give')
    code, said, _ = call('--resume', given=[folder / 'bags' / 'run0', folder / 'bags' / 'run1'])
    check_refusal(code, said, 'a training with other episodes: some are not given; give')
    more = write(tmp_path / 'more', bags.run(1, seed=9))
    code, said, _ = call('--resume', given=[folder / 'bags', more])
    check_refusal(code, said, f'a training with other episodes: {more}, episode 0 is new or has')
    code, said, _ = call('--resume', '--workers', '2')
    assert code == 0
    name = 'policy_best.ckpt'
    assert (out / name).read_bytes() == (trained / name).read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in trained.iterdir()}


def test_several_processes_train_together_and_the_first_speaks(
    call, folder, tmp_path, monkeypatch
):
    out, given = tmp_path / 'out', ('--steps', '4', '--validate-every', '2')
    # As torchrun tells them.
    team = {'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port())}
    for name, value in {**team, 'RANK': '0'}.items():
        monkeypatch.setenv(name, value)
    with started(
        command(folder, out, '--cache', str(folder / 'cache'), *given),
        env={**os.environ, 'RANK': '1'}, stderr=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        code, said, _ = call(*given)
        text = other.communicate(timeout=60)[1]
    assert code == other.returncode == 0, text
    assert 'checkpoint: ' in said.err and text == ''
    assert json.loads((out / 'training.json').read_text())['ended'] == '4 steps'
    load_policy(out, device='cpu')
    # Of what is finished, none waits for the first one, which does not come.
    monkeypatch.setenv('RANK', '1')
    assert call('--resume')[0] == 0


def test_a_task_of_ones_own_goes_with_the_checkpoint(call, tmp_path):
    content = yaml.safe_load(task_file('astrobench_dual_arm').read_text())
    parameters = content['/**']['ros__parameters']
    parameters['task'] |= {'name': 'mine', 'image_size': list(bags.SIZE)}
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(content))
    # What a second file says of it, too.
    limits = tmp_path / 'joint_limits.yaml'
    limits.write_text('joint_limits: {left_joint_1: {max_velocity: 0.7}, head: {max_velocity: 1}}')
    files = '--params-file', str(limits)
    code, _, out = call('--steps', '1', *files, params=tmp_path / 'mine.yaml')
    assert code == 0
    (tmp_path / 'mine.yaml').unlink()
    assert load_policy(out, device='cpu').task.name == 'mine'
    kept = read_parameter_file(out / 'task.yaml').joint_limits
    assert kept['left_joint_1'].max_velocity == 0.7 and 'left_joint_2' in kept


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (('--decoders', '0'), '--decoders is 0, expected 1 or more'),
        (('--start', '-1'), '--start is -1, expected 0 or more'),
        (('--start', '9'), 'nothing is left with --start 9'),
        (('--lr', 'fast'), "parameter 'lr' is 'fast'"),
        (('--chunk-size', '60'), 'no episode is as long as a chunk of 60 actions (1.2 s)'),
        (('--recipe', '/none.yaml'), '/none.yaml'),
        (('--params-file', '/none.yaml'), '/none.yaml'),
        (('--backbone-weights', '/none.pth'), '/none.pth'),
        (('--device', 'cuda:77'), 'cuda:77'),
        (('--cache', '/proc/none'), '0 MB are free for /proc/none: give another --cache'),
        (('--out', '/proc/none'), 'cannot write to --out /proc/none: '),
    ],
)
def test_wrong_options_are_one_line_and_nothing_is_left(call, tmp_path, arguments, text):
    code, said, out = call(*arguments)
    check_refusal(code, said, text)
    assert not out.exists()


def test_a_folder_without_bags_is_one_line(call, tmp_path):
    code, said, out = call(given=[tmp_path])
    check_refusal(code, said, f'{tmp_path} is no bag: it has no .mcap or .db3 file')
    assert not out.exists()


def test_too_little_memory_is_one_line(call, monkeypatch, tmp_path):
    def read(job, tell):
        raise MemoryError

    monkeypatch.setattr(dataset, 'do_job', read)
    code, said, out = call('--cache', str(tmp_path / 'cache'))
    check_refusal(code, said, 'the memory is too small to read the bags: give fewer --decoders')
    assert not out.exists() and kept(tmp_path / 'cache') == []


@pytest.mark.parametrize(
    ('room', 'name'), [(1000, 'training.json'), (600_000, 'policy_best.ckpt')]
)
def test_a_full_disk_is_one_line_and_nothing_half_written_is_left(call, tmp_path, room, name):
    assert call('--steps', '1', out=tmp_path / 'decoded')[0] == 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        code, said, out = call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    check_refusal(code, said, f'cannot write {out}/{name}, and nothing there has changed: ')
    assert not out.exists()


def test_interrupted_before_the_first_step_it_leaves_nothing(call, monkeypatch):
    def interrupted(**how):
        raise KeyboardInterrupt

    monkeypatch.setattr(team, 'joined', interrupted)
    code, said, out = call()
    assert code == 130 and 'Traceback' not in said.err
    assert not out.exists()


def test_processes_that_do_not_meet_leave_nothing(call, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '0')
    monkeypatch.delenv('MASTER_ADDR', raising=False)
    code, said, out = call()
    check_refusal(code, said, 'the 2 processes do not meet, which torchrun starts: ')
    assert 'MASTER_ADDR' in said.err and not out.exists()


@pytest.mark.parametrize(
    'content',
    [
        '{"ended": null}', '{"ended": 3}', '[]', 'null',
        '{"ended": null, "recipe": {}, "parameters": {}, "options": {}, "episodes": {"a": {}}}',
        '{"ended": null, "recipe": 1, "parameters": {}, "options": {}, "episodes": {}}',
    ],
)  # fmt: skip
def test_a_damaged_description_is_one_line(call, tmp_path, content):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'training.json').write_text(content)
    code, said, out = call('--resume')
    check_refusal(code, said, f'{out}/training.json is not what a training writes; give another')
    assert (out / 'training.json').read_text() == content
    (out / 'training.json').write_text(content[:-1])
    code, said, _ = call('--resume')
    check_refusal(code, said, f'{out}/training.json cannot be read; give another --out')


@contextlib.contextmanager
def on_terminal(arguments):
    """Start a program on a terminal of its own; the program, and the user's end of it."""
    ours, its = pty.openpty()
    with started(
        arguments, stdin=its, stdout=its, stderr=its, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:  # fmt: skip
        os.close(its)
        yield process, ours


def test_a_lost_terminal_puts_it_by(call, folder, tmp_path):
    out = tmp_path / 'out'
    arguments = command(folder, out, '--cache', str(folder / 'cache'), '--steps', '100000')
    with on_terminal(arguments) as (process, terminal):
        shown = b''
        while b'samples/s' not in shown:
            shown += os.read(terminal, 4096)
        assert not saved(out)
        os.close(terminal)
        os.kill(process.pid, signal.SIGHUP)  # as a shell does, too
        assert process.wait(60) == 130
    assert saved(out)
    assert json.loads((out / 'training.json').read_text())['ended'] is None


def test_where_a_hangup_is_ignored_it_trains_on(folder, tmp_path):
    out = tmp_path / 'out'
    given = ('--cache', str(folder / 'cache'), '--steps', '20', '--save-every', '0')
    arguments = ['nohup', *command(folder, out, *given)]
    with started(arguments, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: saved(out), 120, 'a state')
        process.send_signal(signal.SIGHUP)
        text = process.communicate(timeout=60)[1]
    assert process.returncode == 0, text
    assert json.loads((out / 'training.json').read_text())['ended'] == '20 steps'


def test_interrupted_while_it_decodes_it_leaves_what_is_whole(call, monkeypatch, tmp_path):
    def interrupted(job, tell):
        if job.episode.bag.name == 'run1':
            raise KeyboardInterrupt
        return decode(job, tell)

    decode = dataset.do_job
    monkeypatch.setattr(dataset, 'do_job', interrupted)
    code, said, out = call('--cache', str(tmp_path / 'cache'))
    assert code == 130 and 'Traceback' not in said.err
    assert not out.exists() and len(kept(tmp_path / 'cache')) == 1
