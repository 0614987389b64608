"""A backbone begins with the weights of a file in torchvision's layout."""

import pytest
import torch

from act_ros.errors import CheckpointError
from act_ros.training.weights import make_network
from test.training import tiny


@pytest.fixture(scope='module')
def weights():
    """As torchvision has them: of a ResNet-18 with its classifier, counters and all."""
    recipe = tiny.recipe(seed=1)
    state = make_network(recipe, tiny.TASK).resnet(0).state_dict()
    state = {key: value + 0.01 for key, value in state.items()}
    counters = {key.replace('running_mean', 'num_batches_tracked'): torch.tensor(7)
                for key in state if key.endswith('running_mean')}  # fmt: skip
    return {**state, **counters, 'fc.weight': torch.ones(10, 64), 'fc.bias': torch.ones(10)}


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
def test_each_backbone_has_the_weights_of_the_file(weights, new, tmp_path):
    path = tmp_path / 'resnet18.pth'
    torch.save(weights, path, _use_new_zipfile_serialization=new)
    recipe = tiny.recipe(backbone_weights=str(path), backbone_per_camera=True)
    network = make_network(recipe, tiny.TASK)
    assert len(network.backbones) == 2
    assert network.norms == []  # frozen: the statistics of the file are those of the network
    for i in range(2):
        for key, value in network.resnet(i).state_dict().items():
            assert torch.equal(value, weights[key]), key
    trained = make_network(tiny.recipe(backbone_weights=str(path), norm='batch'), tiny.TASK)
    assert torch.equal(trained.norms[0].running_mean, weights['bn1.running_mean'])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda w: {k: v for k, v in w.items() if k != 'bn1.bias'}, "missing key 'bn1.bias', exp"),
        (lambda w: {**w, 'layer5.x': torch.ones(1)}, "unknown key 'layer5.x', expected a ResNet"),
        (lambda w: {**w, 'conv1.weight': torch.ones(64, 3, 7, 7)},
         "'conv1.weight' has shape (64, 3, 7, 7), expected (8, 3, 7, 7) (set backbone and backb"),
        (lambda w: [1], 'holds a list, expected a ResNet'),
    ],
)  # fmt: skip
def test_another_file_is_one_line(weights, change, message, tmp_path):
    path = tmp_path / 'resnet18.pth'
    torch.save(change(weights), path)
    with pytest.raises(CheckpointError) as caught:
        make_network(tiny.recipe(backbone_weights=str(path)), tiny.TASK)
    assert message in str(caught.value)
    with pytest.raises(CheckpointError, match='no backbone_weights '):
        make_network(tiny.recipe(backbone_weights=str(tmp_path / 'none')), tiny.TASK)
