"""A workdir belongs to one task and one config; what is not a run's is left alone."""

import json
from itertools import product

import pytest
from configured import changed

from configs import ecc, genesis_ct, ncc
from genesis_jax.config import config_hash, difference, resolve, to_json
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.pretrain import pretrain
from genesis_jax.runs.workdir import open_group, open_workdir


def test_a_workdir_belongs_to_one_config(tmp_path):
    config = resolve(genesis_ct.get_config(), devices=1)
    open_workdir(
        tmp_path, resolve(changed(seed=5), devices=1)
    )  # it never came to a checkpoint, so it may be taken over
    open_workdir(tmp_path, config)
    (tmp_path / 'checkpoints' / '3').mkdir(parents=True)
    open_workdir(tmp_path, resolve(genesis_ct.get_config(), devices=1))
    about = json.loads((tmp_path / 'config.json').read_text())
    assert about['config'] == to_json(config) and about['hash'] == config_hash(config)
    assert about['versions']['jax']
    del about['config']['init']  # as of a pre-training that could begin with no weights
    (tmp_path / 'config.json').write_text(json.dumps(about))
    open_workdir(tmp_path, config)
    with pytest.raises(UserError, match='with config.init=scratch, but this command has .*=a.pt'):
        open_workdir(tmp_path, resolve(changed(init='a.pt'), devices=1))
    other = resolve(changed(optimizer__learning_rate=0.5), devices=1)
    with pytest.raises(UserError, match=r'config.optimizer.learning_rate=1.0, but .*=0.5'):
        open_workdir(tmp_path, other)
    assert difference(to_json(config), other) == ('optimizer.learning_rate', 1.0, 0.5)
    assert config_hash(config) != config_hash(other)
    with pytest.raises(UserError, match="on 'luna16', but this command is a pre-training on 'own'"):
        open_workdir(tmp_path, resolve(changed(data__name='own', batch_size=1), devices=1))


def test_a_workdir_belongs_to_one_task(tmp_path):
    """Even before anything was trained in it."""
    pretraining, tuning = (resolve(c.get_config(), devices=1) for c in (genesis_ct, ncc))
    open_group(tmp_path / 'ncc', tuning)
    open_workdir(tmp_path / 'ncc' / 'seed_0', tuning)
    open_workdir(tmp_path / 'genesis', pretraining)
    before = (tmp_path / 'ncc' / 'config.json').read_bytes()
    for folder in ('ncc', 'ncc/seed_0'):
        words = "fine-tuning for classification on 'ncc', but this command is a pre-training on"
        with pytest.raises(UserError, match=words):
            open_workdir(tmp_path / folder, pretraining)
    assert (tmp_path / 'ncc' / 'config.json').read_bytes() == before
    with pytest.raises(UserError, match="belongs to a pre-training on 'luna16', but"):
        open_group(tmp_path / 'genesis', tuning)
    with pytest.raises(UserError, match="but this command is a fine-tuning for .* on 'ecc'"):
        open_group(tmp_path / 'ncc', resolve(ecc.get_config(), devices=1))


@pytest.mark.parametrize('text', ['{"architecture": {}}', '[]', '{"config": {"task": 1}}', 'x'])
def test_a_config_of_something_else_is_not_overwritten(text, tmp_path):
    (tmp_path / 'config.json').write_text(text)
    for claiming, config in ((open_workdir, genesis_ct), (open_group, ncc)):
        with pytest.raises(UserError, match='is not that of a run'):
            claiming(tmp_path, resolve(config.get_config(), devices=1))
    assert (tmp_path / 'config.json').read_text() == text


def test_a_workdir_must_be_a_folder_one_can_write_in(tmp_path):
    config = resolve(genesis_ct.get_config(), devices=1)
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write in --workdir=.*choose another'):
        open_workdir(tmp_path / 'file', config)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'thesis.tex').write_text('')
    with pytest.raises(UserError, match='holds files but no run; choose an empty'):
        open_workdir(tmp_path / 'full', config)
    with pytest.raises(UserError, match='is a URL; expected a local path or gs://'):
        open_workdir('s3://bucket/run', config)


def test_workdir_and_init_are_checked_before_the_dataset(pretrained, tmp_path):
    """Which may take hours to prepare; a command that fails leaves no folder."""
    pretraining, tuning = changed(data__dir=str(tmp_path)), ncc.get_config()
    tuning.data.dir = str(tmp_path)
    (tmp_path / 'file').write_text('')
    commands = (pretrain, pretraining), (finetune, tuning)
    for train, config in commands:
        with pytest.raises(UserError, match='cannot write in --workdir=.*Not a directory'):
            train(config, tmp_path / 'file' / 'run')
        with pytest.raises(UserError, match='there is no dataset'):
            train(config, tmp_path / 'run')
    unfit = {'weights.pt': 'config.init=weights.pt: there is no such file'}
    unfit[str(pretrained)] = 'add --config.model.width=2'
    for (train, config), (init, words) in product(commands, unfit.items()):
        config.init = init
        with pytest.raises(UserError, match=words):
            train(config, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
