"""A checkpoint as one ONNX file, run by onnxruntime alone."""

import json

import numpy as np
import pytest

from act_ros import export
from test.policy import lerobot
from test.rule import vector, write_checkpoint

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')


def written(out, folder, *flags):
    assert export.main([str(out), '--ckpt-dir', str(folder), *flags]) == 0
    return onnxruntime.InferenceSession(str(out), providers=['CPUExecutionProvider'])


def refused(capfd, out, folder, *flags):
    assert export.main([str(out), '--ckpt-dir', str(folder), *flags]) == 2
    (line,) = [
        said for said in capfd.readouterr().err.splitlines() if said.startswith('export: error')
    ]
    return line


def ask(session, qpos, images):
    frames = {name: image[np.newaxis] for name, image in images.items()}
    return session.run(['chunk'], {'qpos': qpos[np.newaxis], **frames})[0][0]


def test_the_file_gives_the_public_implementations_chunks(tmp_path):
    reference = vector('per_camera')
    folder = write_checkpoint(tmp_path / 'ckpt', 'per_camera')
    session = written(tmp_path / 'new' / 'policy.onnx', folder)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about['cameras']) == reference.about['config']['camera_names']
    assert json.loads(about['action'])[0] == 'arm/left_joint_1/position'
    statistics = np.load(folder / 'dataset_stats.pkl', allow_pickle=True)
    for i in range(3):
        chunk = ask(session, *reference.observation(i))
        normalised = (chunk - statistics['action_mean']) / statistics['action_std']
        np.testing.assert_allclose(normalised, reference.chunks[i], rtol=0, atol=1e-4)


def test_cameras_of_several_sizes_and_their_own_statistics(tmp_path):
    given = lerobot.reference('minmax')
    folder = lerobot.write_lerobot(tmp_path / 'ckpt', 'minmax')
    task = tmp_path / 'task.yaml'
    sides = [side for size in given.about['cameras'].values() for side in size]
    joints = [f'arm/joint_{i}/position' for i in range(7)]
    task.write_text(json.dumps({'/**': {'ros__parameters': {'task': {
        'name': 'lerobot', 'cameras': list(given.images), 'image_size': sides, 'state': joints,
        'action': joints,
    }}}}))  # fmt: skip
    session = written(tmp_path / 'policy.onnx', folder, '--task', str(task))
    own = session.get_modelmeta().custom_metadata_map['own_settings']
    assert json.loads(own) == {'temporal_aggregation': False, 'query_every': 4}
    for i in range(3):
        chunk = ask(session, *given.observation(i))
        np.testing.assert_allclose(chunk, given.chunks[i], rtol=0, atol=1e-4)


def test_what_deviates_or_is_there_is_not_written(tmp_path, capfd):
    folder, out = write_checkpoint(tmp_path / 'ckpt'), tmp_path / 'policy.onnx'
    line = refused(capfd, out, folder, '--max-deviation', '1e-12')
    assert 'deviates by' in line and 'nothing is written' in line
    assert [path.name for path in tmp_path.iterdir()] == ['ckpt']
    out.write_bytes(b'mine')
    assert 'exists; give another name, or --force' in refused(capfd, out, folder)
    assert out.read_bytes() == b'mine'
    written(out, folder, '--force')


def test_a_mistake_is_one_line(tmp_path, capfd):
    assert 'no checkpoint folder' in refused(capfd, tmp_path / 'a.onnx', tmp_path / 'gone')


def test_without_its_libraries_it_says_what_to_install(tmp_path, capfd, monkeypatch):
    from act_ros.policy import onnx_export

    monkeypatch.setattr(onnx_export.importlib.util, 'find_spec', lambda name: None)
    line = refused(capfd, tmp_path / 'a.onnx', write_checkpoint(tmp_path / 'ckpt'))
    assert "pip install 'act_ros[onnx]'" in line
