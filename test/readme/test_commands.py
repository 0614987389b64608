"""Every command of the README that can run here is run, in its own words; the others are named.

A command is run from the README's text: a test that names it in other words fails, and so does
a command that no test runs and no list explains.
"""

import json
import os
import re
import shutil
import signal
from importlib.util import find_spec

import pytest
import torch
import yaml

from act_ros.bridge.client import PolicyClient
from act_ros.config import DEFAULT_TASK, task_file
from act_ros.interfaces import parse_output
from act_ros.parameter_file import read_parameter_file
from act_ros.policy import load_policy
from act_ros.task import Entry, Task
from test.benchmarks.test_command_lines import FIGURES, ROWS
from test.processes import alive
from test.readme import text
from test.readme.clone import PATIENCE, Clone
from test.rule import small_config, write_random
from test.waiting import wait_until

README = text.read()
RUN: list[str] = []

# Commands that cannot run here, by their words or by their program alone, and why.
NOT_HERE = {
    'ros2': 'comes with a ROS 2 distribution',
    'rosdep': 'comes with a ROS 2 distribution',
    'source': 'the setup of a ROS 2 distribution, and of a workspace that colcon built',
    'colcon build --base-paths src/act_ros src/act_ros/act_ros_interfaces':
        'colcon for CMake comes with a ROS 2 distribution; test/test_package.py builds the first, '
        'test/nodes/test_runs.py the second',
    'colcon build --symlink-install': 'test/test_package.py runs it',
    'cd ~/ws': 'the workspace beside a ROS 2 distribution',
    'export FASTDDS_DEFAULT_PROFILES_FILE='
    '$(ros2 pkg prefix --share act_ros)/config/fastdds.xml': 'asks ros2',
    'apt': 'changes the machine',
    'rm -f /dev/shm/fastdds_* /dev/shm/sem.fastdds_*': 'would end the programs of others',
    'pip': 'fetches packages; `make setup` has installed the same',
    'make setup': 'takes minutes; these tests run in what it made',
    'make demo': 'test/demo/test_demo.py runs what it runs: see test_the_targets',
    'make demo SECONDS=60': 'as make demo',
    '.venv/bin/python -m act_ros.demo --seconds 60 --seed 5 --ckpt-dir DIR --params-file YAML':
        'as make demo',
    'make test': 'runs these tests',
    'make quick': 'runs some of these tests',
    'make lint': 'a part of make test',
    'make docs': 'test_site.py runs what it runs',
    '.venv/bin/python -m pytest test/safety -x': 'runs some of these tests',
    'python inference_server.py': 'the original script',
    'python test_zmq_client.py': 'the original script',
    'make test-jazzy': 'CI runs it after these tests',
    'make coverage': 'runs these tests; test/test_release.py sees that programs count',
    'python -m test.fuzz pickle --seconds 300':
        'needs atheris; test/bridge/test_corpus.py runs what it keeps',
    'python -m test.endurance': 'ten minutes; test/endurance/test_endurance.py runs its smallest',
    'kill -9': 'no command, a name',
    'evaluate_bag --ray': 'no command, a name',
}
# Tests of their own run these.
BENCHMARKS = {f'python -m benchmarks.{name}' for name in (*FIGURES, *ROWS)}
BENCHMARKS.add('python -m benchmarks.control_loop --zmq-load')
ELSEWHERE = [command for command in text.commands(README) if command in BENCHMARKS]

needs_ros = pytest.mark.skipif(find_spec('rclpy') is None, reason='rclpy is not importable')
needs_scripts = pytest.mark.skipif(
    not text.has_scripts(), reason='this Python is no environment that `make setup` made'
)


def runs(*commands):
    """A test that runs these commands, and is asked whether it did."""
    RUN.extend(commands)
    return pytest.mark.parametrize('commands', [commands], ids=[''])


@pytest.fixture(scope='module')
def shared_clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp('clone'))


@pytest.fixture
def clone(shared_clone, commands):
    shared_clone.ran.clear()
    yield shared_clone
    assert shared_clone.ran == {*commands}


@pytest.fixture(scope='module')
def snippets():
    """The Python of the README: what it says of the protocol, of the client class, of Python."""
    # The examples of docs/zmq.md are run by test/bridge/test_languages.py.
    blocks = [block for block in text.blocks(README) if block.section != 'Examples']
    found = [block for block in blocks if block.language == 'python']
    assert [block.section for block in found] == ['From Python', *3 * ['Protocol']]
    return [block.text for block in found[1:] + found[:1]]


# --- all of them are known


def reason(command):
    """The entry that says why a command does not run here."""
    return next((e for e in (command, command.split()[0]) if e in NOT_HERE), None)


def test_every_command_is_run_or_said_not_to_be():
    named = [*RUN, *ELSEWHERE]
    assert len(named) == len({*named})
    found = text.commands(README)
    assert not {*named} - {*found}, 'a test runs what the README does not say'
    others = [command for command in found if command not in named]
    unknown = [command for command in others if reason(command) is None]
    assert not unknown, 'run them in a test here, or say in NOT_HERE why they cannot'
    assert {reason(command) for command in others} == {*NOT_HERE}


def test_everything_that_stands_in_is_needed(shared_clone):
    known = '\n'.join([*RUN, *(block.text for block in text.blocks(README))])
    for pattern in shared_clone.stand_ins:
        assert re.search(pattern, known), pattern


# --- the commands


@runs('make help')
def test_the_targets(clone, commands):
    said = clone.run(*commands)
    for target in ('setup', 'demo', 'test', 'lint', 'clean'):
        assert f'make {target} ' in said
    # What make would run, without running it; the environment counts as made.
    dry = 'make --dry-run --old-file .venv/.ready'
    assert '-m act_ros.demo --seconds 60\n' in clone._run(
        ['bash', '-c', f'{dry} demo SECONDS=60']
    )
    said = clone._run(['bash', '-c', f'{dry} test'])
    assert '-m pytest' in said and 'ruff check' in said


@needs_scripts
@runs(
    '.venv/bin/python -m act_ros.sim.demo_bag',
    '.venv/bin/evaluate_bag out/demo/bag --ckpt-dir act_ros/sim/demonstration '
    '--params-file act_ros/config/demo.yaml --out out/evaluation',
    'evaluate_bag out/demo/bag --stride 4',
    'python -m act_ros.evaluate_bag',
)
def test_the_evaluation(clone, commands):
    make, evaluate, coarse, other_name = commands
    clone.run(make)
    assert 'report:' in clone.run(evaluate)
    assert 'report:' in clone.run(coarse)
    assert 'usage: evaluate_bag' in clone.run(other_name)
    for name in ('report.html', 'metrics.json', 'ticks.csv', 'predictions.mcap'):
        assert (clone.folder / 'out/evaluation' / name).stat().st_size > 0


@needs_scripts
@runs(
    '.venv/bin/new_robot --bag out/demo/bag --ckpt-dir act_ros/sim/demonstration '
    '--out out/my_robot.yaml',
    '.venv/bin/check_config out/my_robot.yaml --bag out/demo/bag',
)
def test_a_file_is_drafted_and_checked(clone, commands):
    draft, check = commands
    clone.run_unasked('.venv/bin/python -m act_ros.sim.demo_bag --out out/demo/bag')
    said = clone.run(draft)
    assert 'OPEN     max_tracking_error of left_joint_1' in said
    # What is open is said by a person, who looks it up.
    path = clone.folder / 'out/my_robot.yaml'
    drafted, known = (yaml.safe_load(file.read_text()) for file in (path, task_file(DEFAULT_TASK)))
    limits = known['/**']['ros__parameters']['joint_limits']
    drafted['/**']['ros__parameters']['joint_limits'] = limits
    path.write_text(yaml.safe_dump(drafted))
    assert re.search(r'^0 wrong, \d+ in doubt', clone.run(check), re.MULTILINE)


@runs('.venv/bin/python -m act_ros.make_keys keys --client arm')
def test_the_keys(clone, commands):
    said = clone.run(*commands)
    for name in ('server.key_secret', 'server.key', 'clients/arm.key_secret', 'clients/arm.key'):
        assert f'keys/{name}' in said and (clone.folder / 'keys' / name).is_file()


@runs(
    '.venv/bin/python -m act_ros.make_keys keys --client robot',
    '.venv/bin/python -m act_ros.inference_server --ckpt-dir ckpt --endpoint tcp://0.0.0.0:5555 '
    '--curve-dir keys',
)
def test_a_server_for_robots(clone, commands):
    keys, server = commands
    shutil.rmtree(clone.folder / 'keys', ignore_errors=True)
    clone.run(keys)
    clone.stand_ins[r'tcp://0\.0\.0\.0:5555'] = f'tcp://0.0.0.0:{clone.port}'
    with clone.running(server, says=r'serving \S+ on tcp://0\.0\.0\.0'):
        for name in ('server.key', 'clients/robot.key_secret'):
            path = clone.folder / 'robot_keys' / name.rpartition('/')[2]
            path.parent.mkdir(exist_ok=True)
            shutil.copy2(clone.folder / 'keys' / name, path)
        endpoint = f'tcp://127.0.0.1:{clone.port}'
        with PolicyClient(
            endpoint, timeout=PATIENCE, session='a', curve_dir=clone.folder / 'robot_keys'
        ) as client:
            client.reset()


@needs_scripts
@runs(
    '.venv/bin/python -m act_ros.sim.record --episodes 500 --workers 2 --out out/runs',
    '.venv/bin/train out/runs --params-file act_ros/config/demo.yaml '
    '--recipe act_ros/config/demo_recipe.yaml --out out/ckpt',
    '.venv/bin/evaluate_bag out/runs/episode_00000 --params-file act_ros/config/demo.yaml '
    '--ckpt-dir out/ckpt',
    'python -m act_ros.train',
)
def test_the_training(clone, commands):
    record, train, evaluate, other_name = commands
    clone.run(record)
    assert 'checkpoint: ' in clone.run(train)
    assert 'report:' in clone.run(evaluate)
    assert 'usage: train' in clone.run(other_name)
    about = json.loads((clone.folder / 'out/ckpt/training.json').read_text())
    assert about['bags'] == 'out/runs'


@needs_scripts
@runs(
    '.venv/bin/python -m act_ros.sim.rollout --latency 0 --latency 200 --latency 500 '
    '--out out/rollout',
    '.venv/bin/python -m act_ros.sim.rollout --line delay=50 --line delay=100,jitter=100,loss=20 '
    '--line delay=100,jitter=100,loss=20,outage=1+1 --command-timeout 2',
)
def test_the_roll_out(clone, commands):
    latencies, lines = commands
    assert re.search(r'500 ms +\d of 1', clone.run(latencies))
    assert re.search(r'20 % +lost', clone.run(lines))
    for name in ('rollout.png', 'rollout.json'):
        assert (clone.folder / 'out/rollout' / name).stat().st_size > 0


@needs_scripts
@runs(
    '.venv/bin/replay BAG --ckpt-dir DIR --params-file YAML --out out/replay',
    '.venv/bin/replay BAG --ckpt-dir DIR --out out/replay --free-running',
)
@needs_ros
def test_the_live_node_on_a_recording(clone, commands):
    in_turn, free = commands
    assert '0 with other inputs than offline' in clone.run(in_turn)
    (clone.folder / 'out/replay').rename(clone.folder / 'out/first')
    assert re.search(r'[1-9]\d* ticks', clone.run(free))


FILES = (
    '--params-file act_ros/config/astrobench_dual_arm.yaml --params-file act_ros/config/demo.yaml'
)


@needs_scripts
@runs(
    'export ROS_DOMAIN_ID=101 ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST',
    f'.venv/bin/sim_robot --ros-args {FILES}',
    f'.venv/bin/act_node --ros-args {FILES} -p ckpt_dir:=act_ros/sim/demonstration',
)
def test_the_node_beside_the_simulated_robot(clone, commands, own_domain):
    domain, robot, node = commands
    clone.stand_ins[r'\bROS_DOMAIN_ID=101\b'] = f'ROS_DOMAIN_ID={own_domain}'
    # The robot says nothing; that it runs is what the node is active by.
    active = clone.running(domain, node, says=r'\[act\]: active\n')
    with clone.running(domain, robot, says=''), active:
        pass


@runs('python -m act_ros.parameters > docs/parameters.md')
def test_the_page_of_parameters(clone, commands):
    (clone.folder / 'docs').mkdir()
    clone.run(*commands)
    made = (clone.folder / 'docs/parameters.md').read_text()
    assert made == (text.ROOT / 'docs/parameters.md').read_text()


@runs('.venv/bin/python -m act_ros.inference_server --ckpt-dir act_ros/sim/demonstration')
def test_the_server_with_the_demonstrations_policy(clone, commands):
    with clone.running(*commands, says='serving .* on tcp'):
        pass


@runs('.venv/bin/python -m act_ros.export out/policy.onnx --ckpt-dir ckpt')
def test_the_export(clone, commands):
    clone.run(*commands)
    assert (clone.folder / 'out/policy.onnx').stat().st_size > 0


@runs(
    '.venv/bin/python -m act_ros.inference_server --ckpt-dir ckpt',
    '.venv/bin/python -m act_ros.test_zmq_client --health',
    '.venv/bin/python -m act_ros.test_zmq_client',
)
def test_the_server_and_its_clients(clone, commands, snippets):
    server, health, client = commands
    plain, client_class, player, _ = snippets
    with clone.running(server, says='serving .* on tcp'):
        assert '"state": "ready"' in clone.run(health)
        assert 'All tests completed' in clone.run(client)
        said = clone.python(plain)
        assert said.startswith("{'status': 'OK'}\n")
        assert len(re.findall(r'[-+.e\d]+', said.split('\n', 1)[1])) == 16
        for ours in (client_class, player):
            assert clone.python(f'{plain}\n{ours}\nprint(action.shape)').endswith('(16,)\n')


BACKGROUND = (
    'nohup .venv/bin/python -m act_ros.inference_server --ckpt-dir ckpt > server.log 2>&1 &',
    'echo $! > server.pid',
    'tail -f server.log',
    'kill $(cat server.pid)',
)


@runs(*BACKGROUND)
def test_the_server_in_the_background(clone, commands):
    *begin, watch, end = commands
    clone.run(*begin)
    pid = int((clone.folder / 'server.pid').read_text())
    try:
        with clone.running(watch, says='serving .* on tcp'):
            pass
        clone.run(end)
        wait_until(lambda: not alive(pid), PATIENCE, 'the server ended')
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


# --- the snippets


@pytest.mark.parametrize('commands', [()], ids=[''])
def test_the_policy_from_python(clone, snippets):
    assert 'step 0' in clone.python(snippets[3]).splitlines()[-1]


def test_the_parameter_files(tmp_path):
    blocks = [block for block in text.blocks(README) if block.language == 'yaml']
    (remote,) = (block for block in blocks if block.section.startswith('Another machine'))
    (tmp_path / 'robot.yaml').write_text(remote.text)
    settings = read_parameter_file(task_file(DEFAULT_TASK), tmp_path / 'robot.yaml')
    assert settings.policy_endpoint and settings.policy_jpeg_quality

    (limits,) = (block for block in blocks if block.section.startswith('What keeps'))
    (tmp_path / 'limits.yaml').write_text(limits.text)
    assert read_parameter_file(tmp_path / 'limits.yaml').joint_limits['left_joint_1'].given
    found = [block for block in blocks if block not in (remote, limits)]
    side, entries, *recipes = (yaml.safe_load(block.text) for block in found)

    for ours, theirs in zip(recipes[::2], recipes[1::2], strict=True):
        path = tmp_path / 'parameters.yaml'
        path.write_text(yaml.safe_dump(ours))
        settings = read_parameter_file(task_file(DEFAULT_TASK), path)
        specs = [parse_output(line, Task.from_settings(settings)) for line in settings.outputs]
        assert [len(spec.columns) for spec in specs] == [7, 1]
        # What is sent is what the controllers have.
        for spec in specs:
            controller = spec.topic.partition('/')[0]
            assert controller in theirs['controller_manager']['ros__parameters']
            names = theirs[controller]['ros__parameters']['joints']
            assert names == [entry.name for entry in spec.entries]

    assert [Entry.parse(entry).scale for entry in entries] == [1.0, 0.04]
    folder = tmp_path / 'ckpt'
    write_random(folder, small_config(heads=8))
    weights = torch.load(folder / 'policy_best.ckpt')
    torch.save({side['weights']: weights}, folder / 'policy_best.ckpt')
    (folder / 'config.yaml').write_text(found[0].text)
    assert load_policy(folder, device='cpu').task.cameras == tuple(side['camera_names'])
