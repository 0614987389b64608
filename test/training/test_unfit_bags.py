"""A bag that nothing can be learnt from is named in one line, before anything is written."""

import dataclasses
from dataclasses import replace

import pytest

from act_ros.errors import ActError
from test.bags import bags
from test.bags.bags import write
from test.training.recordings import RECIPE, SMALL, found, not_numbers, read


def larger(messages):
    return list(bags.run(0.5, (60, 80)))


def renamed(messages):
    return [dataclasses.replace(m, what='/other') if m.what == 'arm' else m for m in messages]


def other_joints(messages):
    names = [f'right_{i}' for i in range(8)]
    return [dataclasses.replace(m, content=dataclasses.replace(m.content, name=names))
            if m.what == 'arm' else m for m in messages]  # fmt: skip


def uncommanded(messages):
    return [m for m in messages if m.what != 'command']


def unnamed(messages):
    return [dataclasses.replace(m, content=dataclasses.replace(m.content, name=[]))
            if m.what == 'command' else m for m in messages]  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (larger, '/rgb_main/image_raw: 60x80 pixels, expected 48x64'),
        (renamed, 'has no /arm/joint_states; near: /base/joint_states'),
        (other_joints, "no tick has a complete observation: joints 'left_joint_1', 'left_j"),
        (lambda m: not_numbers(m, 'arm', (0, 9)), 'arm/left_joint_3/position is nan'),
        (uncommanded, 'has no /arm/joint_commands with the commands of arm/left_joint_1/position'),
        (unnamed, 'no command can be read: 10 of 10 messages of /arm/joint_commands name no'),
    ],
)
def test_a_bag_that_does_not_fit_is_named_and_nothing_is_written(several, tmp_path, change, text):
    other = write(tmp_path / 'other', change(list(bags.run(0.5))))
    with pytest.raises(ActError) as error:
        read([several, other], tmp_path / 'cache')
    assert text in str(error.value) and str(other) in str(error.value)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize(
    ('changes', 'selection', 'text'),
    [
        ({'chunk_size': 90}, {}, r'no episode is as long as a chunk of 90 actions \(1.8 s\)'),
        ({}, {'start': 9.0}, 'nothing is left with --start 9'),
        ({}, {'episodes': 'parts'}, "--episodes is 'parts'; expected whole"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_decoded(
    several, tmp_path, changes, selection, text
):
    with pytest.raises(ActError, match=text):
        found([several], tmp_path / 'cache', recipe=replace(RECIPE, **changes), **selection)


def test_one_episode_is_too_few(several, tmp_path):
    with pytest.raises(ActError, match=r'there is one episode only, \S+run0, episode 0, and none'):
        found([several / 'run0'], tmp_path / 'cache')


def test_frames_in_another_order_of_colours_are_refused(several, tmp_path):
    with pytest.raises(ActError, match="parameter 'colour_order' is bgr, expected rgb"):
        found([several], tmp_path / 'cache', settings=replace(SMALL, colour_order='bgr'))
