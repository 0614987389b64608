from dataclasses import dataclass, field

import numpy as np
import pytest

from act_ros.sim import bodies, scene
from act_ros.sim.renderer import Renderer
from act_ros.sim.robot import HOME
from act_ros.sim.world import World

CAMERAS = scene.default_cameras(['over_shoulder', 'side', 'below'])


@dataclass
class Pose:
    positions: np.ndarray = field(default_factory=HOME.copy)
    base_position: np.ndarray = field(default_factory=lambda: np.zeros(3))
    base_orientation: np.ndarray = field(default_factory=lambda: np.zeros(3))
    objects: np.ndarray = field(default_factory=lambda: np.stack([scene.placed()] * 2))


def moved(joint, angle):
    pose = Pose()
    pose.positions[joint] += angle
    return pose


def changed_pixels(first, second):
    """Count pixels that differ visibly."""
    difference = np.abs(first.astype(int) - second.astype(int)).max(axis=-1)
    return int(np.count_nonzero(difference > 24))


@pytest.fixture(scope='module')
def renderers():
    return {name: Renderer(camera, 240, 320) for name, camera in CAMERAS.items()}


@pytest.mark.parametrize('size', [(48, 64), (120, 160), (480, 640), (31, 77)])
@pytest.mark.parametrize('name', list(CAMERAS))
def test_image_has_the_size_asked_for(name, size):
    image = Renderer(CAMERAS[name], *size).render(World([f'j{i}' for i in range(8)]))
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.std() > 20.0


@pytest.mark.parametrize('size', [(0, 64), (48, -1)])
def test_empty_image_is_refused(size):
    with pytest.raises(ValueError, match='expected at least 1x1'):
        Renderer(CAMERAS['side'], *size)


def test_image_is_the_same_each_time(renderers):
    for name, renderer in renderers.items():
        first = renderer.render(Pose())
        renderer.render(moved(1, 0.5))
        np.testing.assert_array_equal(renderer.render(Pose()), first)
        np.testing.assert_array_equal(Renderer(CAMERAS[name], 240, 320).render(Pose()), first)


def test_image_is_drawn_into_out(renderers):
    renderer = renderers['side']
    out = np.full((240, 320, 3), 77, dtype=np.uint8)
    assert renderer.render(Pose(), out) is out
    np.testing.assert_array_equal(out, renderer.render(Pose()))


@pytest.mark.parametrize('out', [
    np.empty((240, 321, 3), dtype=np.uint8),
    np.empty((240, 320, 3), dtype=np.float32),
    np.empty((240, 640, 3), dtype=np.uint8)[:, ::2],
])
def test_unfit_out_is_refused(renderers, out):
    with pytest.raises(ValueError, match='expected contiguous uint8'):
        renderers['side'].render(Pose(), out)


@pytest.mark.parametrize('joint', range(7))
def test_each_arm_joint_can_be_seen_moving(renderers, joint):
    changes = [changed_pixels(renderer.render(Pose()), renderer.render(moved(joint, 0.35)))
               for renderer in renderers.values()]
    assert max(changes) > 100


@pytest.mark.parametrize('name', list(CAMERAS))
@pytest.mark.parametrize('joint', range(4))
def test_the_large_joints_can_be_seen_moving_in_every_camera(renderers, name, joint):
    renderer = renderers[name]
    assert changed_pixels(renderer.render(Pose()), renderer.render(moved(joint, 0.25))) > 300


def test_gripper_can_be_seen_opening(renderers):
    closed, opened = moved(7, -HOME[7]), moved(7, 1.0 - HOME[7])
    changes = [changed_pixels(renderer.render(closed), renderer.render(opened))
               for renderer in renderers.values()]
    assert max(changes) > 100
    assert sum(change > 40 for change in changes) >= 2


@pytest.mark.parametrize('name', list(CAMERAS))
def test_world_shifts_when_the_base_moves(renderers, name):
    renderer = renderers[name]
    at_rest = renderer.render(Pose())
    shifted = renderer.render(Pose(base_position=np.array([0.0, 0.03, 0.03])))
    turned = renderer.render(Pose(base_orientation=np.array([0.02, 0.02, 0.03])))
    assert changed_pixels(at_rest, shifted) > 500
    assert changed_pixels(at_rest, turned) > 500


def test_colours_are_in_rgb_order(renderers):
    """The joint housings are orange, so red dominates blue; the Earth is blue."""
    red, _, blue = np.moveaxis(renderers['side'].render(Pose()).astype(int), -1, 0)
    assert np.count_nonzero((red > 180) & (blue < 80)) > 200
    assert np.count_nonzero((blue > 120) & (red < 60)) > 500


def test_far_out_base_pose_is_still_drawn(renderers):
    pose = Pose(base_position=np.array([1.5, 0.0, 0.0]),
                base_orientation=np.array([0.5, 1.0, 3.0]))
    for renderer in renderers.values():
        assert renderer.render(pose).shape == (240, 320, 3)


def test_cameras_are_named_in_order():
    assert list(scene.default_cameras([])) == []
    assert list(CAMERAS) == ['over_shoulder', 'side', 'below']
    main = scene.default_cameras(['a'])['a']
    assert main.name == 'a'
    np.testing.assert_array_equal(main.position, CAMERAS['over_shoulder'].position)
    for camera in CAMERAS.values():
        np.testing.assert_allclose(camera.rotation.T @ camera.rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.rotation) == pytest.approx(1.0)


def test_more_cameras_than_views_are_refused():
    with pytest.raises(ValueError, match=r'found 4 .*at most 3'):
        scene.default_cameras(['a', 'b', 'c', 'd'])
    with pytest.raises(ValueError, match='not unique'):
        scene.default_cameras(['a', 'a'])


def test_kinematics_follow_the_base_and_the_joints():
    poses = scene.frame_poses(np.array([0.1, 0.2, 0.3]), np.zeros(3), np.zeros(8))
    np.testing.assert_allclose(poses[scene.BASE, :, 3], [0.1, 0.2, 0.3])
    for pose in scene.frame_poses(np.zeros(3), np.array([0.1, 0.2, 0.3]), HOME):
        np.testing.assert_allclose(pose[:, :3] @ pose[:, :3].T, np.eye(3), atol=1e-12)
    pitched = np.zeros(8)
    pitched[1] = -np.pi / 2
    wrist = scene.FIRST_JOINT + 6
    straight = scene.frame_poses(np.zeros(3), np.zeros(3), np.zeros(8))[wrist]
    raised = scene.frame_poses(np.zeros(3), np.zeros(3), pitched)[wrist]
    np.testing.assert_allclose(straight[:, 0], [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(raised[:, 0], [0.0, 0.0, 1.0], atol=1e-12)
    assert raised[2, 3] > straight[2, 3] + 0.5


def test_fingers_part_with_the_opening():
    def gap(opening):
        joints = HOME.copy()
        joints[7] = opening
        poses = scene.frame_poses(np.zeros(3), np.zeros(3), joints)
        return np.linalg.norm(poses[scene.LEFT_FINGER, :, 3] - poses[scene.RIGHT_FINGER, :, 3])

    assert 0.0 < gap(0.0) < 0.04
    assert gap(1.0) > gap(0.5) + 0.04 > gap(0.0) + 0.08


def test_solids_are_convex_and_their_faces_point_outwards():
    for solid in bodies.solids():
        if len(solid.faces) == 1:
            continue
        for face in solid.faces:
            corners = solid.vertices[list(face)]
            normal = np.cross(corners[1] - corners[0], corners[2] - corners[1])
            assert np.all((solid.vertices - corners[0]) @ normal < 1e-9)
