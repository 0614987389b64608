"""A recipe says how to train, by file and by flag, and refuses what it does not know."""

import argparse

import pytest

from act_ros.errors import ParameterError
from act_ros.training.recipe import Recipe, add_flags, read_recipe


def read(tmp_path, text='', *argv):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    path = tmp_path / 'recipe.yaml'
    path.write_text(text)
    return read_recipe([path] if text else [], vars(parser.parse_args(argv)))


def test_what_is_not_said_is_the_public_default(tmp_path):
    recipe = read(tmp_path)
    assert recipe == Recipe()
    public = {'chunk_size': 100, 'hidden_dim': 512, 'feedforward_dim': 3200, 'encoder_layers': 4,
              'decoder_layers': 7, 'heads': 8, 'backbone': 'resnet18', 'backbone_width': 64,
              'dropout': 0.1, 'cvae': True, 'kl_weight': 10.0, 'lr': 1e-5, 'lr_backbone': 1e-5,
              'weight_decay': 1e-4, 'batch_size': 8}  # fmt: skip
    assert {name: getattr(recipe, name) for name in public} == public


def test_flags_go_over_files(tmp_path):
    recipe = read(tmp_path, 'lr: 1e-3\nbatch_size: 24\ncvae: no\nema: 0.99\n',
                  '--batch-size', '32', '--ema', '0', '--pre-norm', 'true')  # fmt: skip
    assert (recipe.lr, recipe.batch_size, recipe.ema) == (1e-3, 32, 0.0)
    assert (recipe.cvae, recipe.pre_norm) == (False, True)


@pytest.mark.parametrize(
    ('text', 'argv', 'message'),
    [
        ('batchsize: 24', (), "unknown parameter 'batchsize'; did you mean 'batch_size'?"),
        ('lr: fast', (), "parameter 'lr' is 'fast'; expected a number (learning rate)"),
        ('steps: 0', (), "'steps' is 0; expected 1 to 1e+08"),
        ('lr: 1e-3\nlr: 1e-4', (), "line 2: 'lr' is set twice"),
        ('- lr', (), 'it has no lines of the form NAME: VALUE'),
        ('lr: [1.0]', (), "parameter 'lr' is [1.0]; expected a number"),
        ('', ('--batch-size', 'x'), "parameter 'batch_size' is 'x'; expected a whole number"),
        ('', ('--cvae', 'perhaps'), "'cvae' is 'perhaps'; expected true or false"),
        ('', ('--norm', 'thaw'), "'norm' is 'thaw'; expected one of auto, frozen, batch"),
        ('', ('--hidden-dim', '100'), "'hidden_dim' is 100; expected a multiple of 4 and of h"),
        ('', ('--dilation', 'yes'), "'dilation' is true, but a resnet18 has none; only resnet50"),
    ],
)
def test_what_does_not_fit_is_one_line(text, argv, message, tmp_path):
    with pytest.raises(ParameterError) as caught:
        read(tmp_path, text, *argv)
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)
    assert ('recipe.yaml' in str(caught.value)) == bool(text)


def test_steps_follow_from_epochs_where_they_are_given():
    assert Recipe(steps=7).steps_of(1000) == 7
    assert Recipe(epochs=3, batch_size=24).steps_of(1000) == 125
    assert Recipe(epochs=0.001, batch_size=24).steps_of(1000) == 1

