"""Frames that are turned, cut out and resized on their way to the policy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from act_ros.errors import ObservationError, ParameterError
from act_ros.observation import Framing, ObservationStore, framings
from act_ros.parameters import Settings
from act_ros.task import Entry, Task
from test.messages import image, joints

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
ENTRY = (Entry('arm', 'a', 'position'),)
TASK = Task('t', ('front', 'wrist'), ENTRY, ENTRY, 50.0, (48, 64))


def test_a_frame_that_is_right_is_the_very_same():
    framing = Framing((48, 64))
    framing.check((48, 64))
    assert framing.apply(NOISE) is NOISE
    assert replace(framing, resize='fit').apply(NOISE) is NOISE


@pytest.mark.parametrize(('degrees', 'turns'), [(90, -1), (180, 2), (270, 1)])
def test_a_camera_that_is_mounted_otherwise_is_turned_clockwise(degrees, turns):
    expected = np.rot90(NOISE, turns)
    framing = Framing(expected.shape[:2], rotation=degrees)
    framing.check(NOISE.shape[:2])
    np.testing.assert_array_equal(framing.apply(NOISE), expected)


def test_a_part_is_cut_out_of_the_turned_frame_without_a_copy():
    framing = Framing((10, 20), crop=(3, 5, 10, 20))
    found = framing.apply(NOISE)
    np.testing.assert_array_equal(found, NOISE[3:13, 5:25])
    assert np.shares_memory(found, NOISE)
    turned = Framing((10, 20), 180, (3, 5, 10, 20)).apply(NOISE)
    np.testing.assert_array_equal(turned, NOISE[::-1, ::-1][3:13, 5:25])


@pytest.mark.parametrize('size', [(24, 32), (96, 96), (31, 57)])
def test_stretching_is_bilinear_as_in_torch(size):
    found = Framing(size, resize='stretch').apply(NOISE)
    pixels = torch.from_numpy(NOISE).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(pixels, size, mode='bilinear')[0]
    np.testing.assert_allclose(found, expected.permute(1, 2, 0), atol=1.0)


def test_fitting_keeps_the_aspect_with_black_on_both_sides():
    grey = np.full_like(NOISE, 100)
    found = Framing((48, 48), resize='fit').apply(grey)
    assert found.shape == (48, 48, 3)
    assert (found[6:42] == 100).all() and (found[:6] == 0).all() and (found[42:] == 0).all()
    upright = Framing((64, 100), resize='fit', rotation=90).apply(grey)
    assert (upright[:, 26:74] == 100).all() and not upright[:, :26].any()
    assert not upright[:, 74:].any()


@pytest.mark.parametrize(
    ('framing', 'message'),
    [
        (Framing((48, 48)), r'48x64 pixels, expected 48x48 \(let the camera send that'),
        (Framing((48, 64), 90), '64x48 pixels, expected 48x64'),
        (Framing((40, 40), crop=(9, 0, 40, 40)), 'camera_crops wants 40x40 from 9, 0 on'),
        (Framing((64, 9), 90, (0, 40, 64, 9)), 'camera_crops wants 64x9 from 0, 40 on'),
        (Framing((40, 40), crop=(0, 0, 40, 41)), '40x41 pixels, expected 40x40'),
    ],
)
def test_frames_that_do_not_become_the_policys_are_refused(framing, message):
    with pytest.raises(ObservationError, match=message):
        framing.check((48, 64))


def test_parameters_say_it_of_each_camera():
    settings = Settings(camera_rotations=(180, 0), camera_crops=('', '1 2 30 40'),
                        image_resize='stretch')  # fmt: skip
    assert framings(settings, TASK) == {
        'front': Framing((48, 64), 180, None, 'stretch'),
        'wrist': Framing((48, 64), 0, (1, 2, 30, 40), 'stretch'),
    }
    assert framings(Settings(), TASK)['front'] == Framing((48, 64))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'camera_rotations': (90,)}, "'camera_rotations' lists 1 rotations, expected 2"),
        ({'camera_rotations': (0, 45)}, "'camera_rotations' has 45 for wrist; expected 0, 90"),
        ({'camera_crops': ('', '1 2 3')}, "'camera_crops' has '1 2 3' for wrist; expected"),
        ({'camera_crops': ('0 0 0 5', '')}, "'0 0 0 5' for front"),
        ({'camera_crops': ('-1 0 5 5', '')}, "'-1 0 5 5' for front"),
    ],
)
def test_what_they_cannot_say_is_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        framings(Settings(**changes), TASK)


def test_the_store_checks_by_it_and_its_snapshots_give_the_policys_images():
    settings = Settings(camera_rotations=(0, 180), image_resize='stretch')
    store = ObservationStore.from_settings(settings, TASK)
    now = 1_000_000_000
    store.put('arm', joints(['a'], [0.0], stamp=now), now)
    store.put('front', image(np.full((12, 16, 3), 7, np.uint8), stamp=now), now)
    store.put('wrist', image(NOISE, stamp=now), now)
    snapshot, faults = store.snapshot(now)
    assert faults == {}
    images = snapshot.images()
    assert images['front'].shape == (48, 64, 3) and (images['front'] == 7).all()
    np.testing.assert_array_equal(images['wrist'], NOISE[::-1, ::-1])
    plain = ObservationStore.from_settings(Settings(), TASK)
    plain.put('front', image(np.zeros((12, 16, 3), np.uint8), stamp=now), now)
    assert '12x16 pixels, expected 48x64' in plain.snapshot(now)[1]['front']
