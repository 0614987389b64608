"""A program that plays a robot is in a graph of its own, and finds out where it is not."""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
import yaml

from act_ros.errors import ActError
from act_ros.nodes import dds, isolation
from act_ros.nodes.dds import keep_to_this_host
from act_ros.nodes.isolation import OwnGraph, own_graph

# A node in the graph that its environment says.
SOMEBODY = """
import sys, rclpy
rclpy.init()
node = rclpy.create_node('real_arm')
print('there', flush=True)
sys.stdin.read()
"""


# By which this process is in a graph of the tests' own.
KEPT_FROM = ('ROS_', 'FASTDDS_', 'FASTRTPS_')


@pytest.fixture(autouse=True)
def _environment_stays():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@contextmanager
def somebody(domain):
    """Another program in a domain, as a robot's shell would start it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(KEPT_FROM)}
    process = subprocess.Popen(
        [sys.executable, '-c', SOMEBODY], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**kept, 'ROS_DOMAIN_ID': str(domain)},
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b'there\n'
        yield
    finally:
        process.communicate(b'', timeout=20)


@pytest.mark.parametrize('distribution', ['humble', 'kilted'])
def test_nothing_that_the_shell_says_leads_off_this_machine(monkeypatch, distribution):
    said = {
        'ROS_DISTRO': distribution,
        'ROS_DOMAIN_ID': '7',
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
        'ROS_LOCALHOST_ONLY': '0',
        'ROS_STATIC_PEERS': '192.168.0.7',
        'ROS_DISCOVERY_SERVER': '192.168.0.7:11811',
        'ROS_SUPER_CLIENT': 'TRUE',
        'ROS2_EASY_MODE': '192.168.0.7',
        'FASTDDS_DEFAULT_PROFILES_FILE': '/mine.xml',
        'FASTRTPS_DEFAULT_PROFILES_FILE': '/mine.xml',
        'FASTDDS_ENVIRONMENT_FILE': '/mine.json',
        'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
        'RMW_FASTRTPS_USE_QOS_FROM_XML': '1',
        'CYCLONEDDS_URI': 'file:///mine.xml',
        'ROS_SECURITY_ENABLE': 'true',
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dds, 'find_spec', lambda name: None if distribution == 'humble' else name)
    keep_to_this_host(220)
    left = {name: value for name, value in os.environ.items() if name in said}
    profiles = [left.pop(name) for name in dds.PROFILES if name in left]
    assert profiles and all(p.endswith('fastdds_this_host.xml') for p in profiles)
    only = {'ROS_LOCALHOST_ONLY': '1'} if distribution == 'humble' else {}
    assert left == {
        'ROS_DISTRO': distribution, 'ROS_DOMAIN_ID': '220',
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', **only,
    }  # fmt: skip
    assert os.environ['SKIP_DEFAULT_XML_FILE'] == '1'


def test_how_it_is_fenced_off_is_no_matter_of_what_the_shell_names(monkeypatch):
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    monkeypatch.delenv('ROS_LOCALHOST_ONLY', raising=False)
    monkeypatch.setattr(dds, 'find_spec', lambda name: None)  # Humble's rclpy
    keep_to_this_host(220)
    assert os.environ['ROS_LOCALHOST_ONLY'] == '1'


@pytest.mark.parametrize(
    ('libraries', 'named'),
    [
        (['libfastdds.so.3.2'], ['FASTDDS_DEFAULT_PROFILES_FILE']),
        (['x86_64-linux-gnu/libfastrtps.so'], ['FASTRTPS_DEFAULT_PROFILES_FILE']),
        (['libddsc.so'], [*dds.PROFILES]),
    ],
)
def test_the_profile_is_named_as_the_installed_library_wants_it(
    monkeypatch, tmp_path, libraries, named
):
    for name in libraries:
        path = tmp_path / 'ros/lib' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "other"}:{tmp_path / "ros"}')
    monkeypatch.setattr(dds.sys, 'prefix', str(tmp_path / 'venv'))
    for name in dds.PROFILES:
        monkeypatch.delenv(name, raising=False)
    found = dds.image_profile()
    assert list(found) == named
    assert all(path.endswith('fastdds.xml') for path in found.values())


def test_two_at_once_have_a_graph_each():
    theirs = os.environ['ROS_DOMAIN_ID']
    with own_graph('one') as one, own_graph('two') as two:
        assert len({one.domain, two.domain, int(theirs)}) == 3
        assert one.namespace != two.namespace
    with own_graph('one') as again:
        assert again.domain == one.domain  # the first is free again
        assert again.namespace != one.namespace  # but nothing that was meant for it arrives


def test_a_domain_with_somebody_in_it_is_not_taken(monkeypatch):
    with own_graph('first') as graph:
        pass
    with somebody(graph.domain):
        with own_graph('next') as other:
            assert other.domain > graph.domain
        monkeypatch.setattr(isolation, 'DOMAINS', (graph.domain,))
        text = f'no free ROS domain: {graph.domain} by the program with UDP port 6[0-9]+; end'
        with pytest.raises(ActError, match=text):
            own_graph('none').__enter__()


def test_the_domain_of_the_shell_is_not_taken(monkeypatch):
    monkeypatch.setattr(isolation, 'DOMAINS', (99,))
    monkeypatch.setenv('ROS_DOMAIN_ID', '99')
    with pytest.raises(ActError, match='99 by this shell'):
        own_graph('none').__enter__()


def test_a_domain_of_another_run_is_not_taken(monkeypatch):
    monkeypatch.setattr(isolation, 'DOMAINS', (99,))
    with socket.socket(socket.AF_UNIX) as lock:
        lock.bind('\0act_ros/ros_domain/99')
        with pytest.raises(ActError, match='99 by another run'):
            own_graph('none').__enter__()


def test_a_middleware_that_spans_the_network_is_refused(monkeypatch):
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_zenoh_cpp')
    with own_graph('test'):
        assert os.environ['RMW_IMPLEMENTATION'] in isolation.CONFINED  # ROS's default one
    monkeypatch.setattr(isolation, 'CONFINED', ('rmw_cyclonedds_cpp',))
    with pytest.raises(ActError, match='the middleware of this ROS is rmw_fastrtps_cpp, which'):
        own_graph('none').__enter__()


def test_absolute_names_go_into_the_namespace_too(tmp_path):
    values = {
        'camera_topics': ['rgb/image_raw', '/rgb/left'],
        'outputs': [
            '/arm/joint_commands JointState arm/*', 'gripper/commands JointState',
            '"/arm/quoted" JointState', "  '/arm/indented' JointState",
        ],
        'task.cameras': ['/front', 'left'],
        'enable_topic': ' /enable',
        'ckpt_dir': '1e2',
        'qos_overrides./arm/joint_states.subscription.depth': 3,
    }
    words = OwnGraph(220, '/demo_1').arguments(values, tmp_path / 'p.yaml')
    rules = {words[i + 1] for i, word in enumerate(words) if word == '-r'}
    absolute = (
        '/clock', '/diagnostics', '/rgb/left', '/enable', '/front/image_raw',
        '/arm/joint_commands', '/arm/quoted', '/arm/indented',
    )  # fmt: skip
    assert rules == {'__ns:=/demo_1', *(f'{name}:=/demo_1{name}' for name in absolute)}
    text = (tmp_path / 'p.yaml').read_text()
    here = yaml.safe_load(text)['/**']['ros__parameters']
    assert here.pop('qos_overrides./demo_1/arm/joint_states.subscription.depth') == 3
    assert here == {name: value for name, value in values.items() if not name.startswith('qos')}
    assert '"1e2"' in text  # rcl would take the plain text for a number
