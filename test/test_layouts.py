"""The layouts for Foxglove and PlotJuggler, against the recording that the demo makes."""

import pytest

from act_ros.bags.bag import Bag
from act_ros.evaluation.report.predictions import ROOT
from act_ros.sim.demo_bag import demo_settings, write_demo_bag
from test import layouts

OWN = {'/act/chunk', '/diagnostics'}  # what only the node publishes: see test/nodes


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """Topic to type and to first message."""
    path = write_demo_bag(tmp_path_factory.mktemp('demo') / 'bag', 0.2, demo_settings())
    with Bag(path) as bag:
        first = {}
        for topic, _, message in bag.messages(list(bag.topics)):
            first.setdefault(topic, message)
        return dict(bag.topics), first


def leaves(node):
    """The panels of a layout, whose parts each take some of the room."""
    if isinstance(node, str):
        return [node]
    assert node['direction'] in ('row', 'column') and 0 < node['splitPercentage'] < 100
    return leaves(node['first']) + leaves(node['second'])


def test_every_panel_of_foxglove_is_set_up_and_shown_once():
    layout = layouts.foxglove()
    assert sorted(leaves(layout['layout'])) == sorted(layout['configById'])
    paths = layouts.foxglove_paths()
    assert len(paths) == len(set(paths)) > 20


def test_its_cameras_are_recorded(recorded):
    types, _ = recorded
    panels = layouts.foxglove()['configById'].items()
    cameras = [panel['imageMode']['imageTopic'] for name, panel in panels if 'Image!' in name]
    images = [topic for topic, kind in types.items() if kind == 'sensor_msgs/msg/Image']
    assert sorted(cameras) == sorted(images)


def test_plotjuggler_can_build_its_tabs():
    root = layouts.plotjuggler()
    assert root.tag == 'root' and root.find('tabbed_widget').get('parent') == 'main_window'
    for splitter in root.iter('DockSplitter'):
        sizes = [float(size) for size in splitter.get('sizes').split(';')]
        assert len(sizes) == len(splitter) == int(splitter.get('count'))
        assert sum(sizes) == pytest.approx(1, abs=0.01)
        assert splitter.get('orientation') in '|-'
    for tab in root.iter('Tab'):
        assert len(tab.findall('Container/DockSplitter')) == 1
    for area in root.iter('DockArea'):
        assert len(area.findall('plot/curve')) >= 1 and area.get('name')


def test_commands_and_measurements_are_found_in_the_recording(recorded):
    _, first = recorded
    joints = {topic: m for topic, m in first.items() if hasattr(m, 'position')}
    commands = demo_settings().outputs[0].split()[0]
    predicted = {f'{ROOT}/{commands}': joints[f'/{commands}']}
    paths, curves = layouts.all_found({**joints, **predicted})
    for i, joint in enumerate(joints[f'/{commands}'].name):
        for topic in ('/arm/joint_states', f'/{commands}'):
            assert joints[topic].name[i] == joint  # places are those of the same joints
            assert f'{topic}.position[{i}]' in paths
            assert f'{topic}/{joint}/position' in curves
    elsewhere = {n for n in layouts.foxglove_paths() if n not in paths}
    elsewhere |= {n for n in layouts.plotjuggler_curves() if n not in curves}
    assert all(layouts.topic_of(name, dict.fromkeys(OWN)) for name in elsewhere), elsewhere
