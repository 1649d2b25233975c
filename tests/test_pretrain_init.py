"""Pre-training starts from weights: what is loaded, what is new, and what its export tells."""

import json

import jax
import numpy as np
import pytest
from configured import changed
from converted import make, same
from tuned import begin

from configs import demo, genesis_ct_2d, genesis_mri, genesis_ultrasound, genesis_xray
from genesis_jax import convert, parallel
from genesis_jax.checkpoints import load_export
from genesis_jax.config import resolve
from genesis_jax.data import reading
from genesis_jax.errors import UserError
from genesis_jax.pretrain import make_steps, pretrain
from genesis_jax.training.steps import make_network
from genesis_jax.transfer import open_start, shapes_of

PATCH = (24, 24, 8, 1)
PUBLISHED = 'official_unet3d_width4.pt'


def begun(config, channels=1):
    """What a pre-training on examples of so many channels starts with."""
    return open_start(config, shapes_of(make_network(config, channels), channels))


def _placed_as(array, other):
    return jax.device_put(array, other.sharding)


def from_file(path, width=2, **fields):
    return changed(init=str(path), model__width=width, **fields)


@pytest.fixture(scope='module')
def mri(make_config):
    """A config that takes one epoch to go on from an export."""
    return lambda init, **fields: make_config(init=str(init), epochs=1, pictures=0, **fields)


@pytest.fixture(scope='module')
def run(mri, pretrained, tmp_path_factory):
    """The workdir of a run that went on from `pretrained`."""
    workdir = tmp_path_factory.mktemp('run')
    pretrain(mri(pretrained), workdir, 'some.py, but width=2')
    return workdir


def test_the_first_step_is_of_the_loaded_weights(run, mri, pretrained):
    first, *_ = (json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines())
    config = resolve(mri(pretrained), 4)
    train, *_ = reading.open_splits(config)
    loaded, _ = load_export(pretrained / 'export' / 'encoder_decoder')
    steps = make_steps(config, PATCH, 3)
    for variables, equal in ((loaded, True), ({}, False)):
        state = parallel.create(steps.init, np.int32(0))
        there = {name: getattr(state, name) for name in variables}
        state = state.replace(**jax.tree.map(_placed_as, variables, there))
        batch = next(reading.train_batches(train, config.batch_size, config.seed))
        _, metrics = steps.train(state, parallel.shard(batch))
        assert (float(metrics['loss']) == pytest.approx(first['train/loss'], rel=1e-5)) == equal


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    run, mri, pretrained, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(parallel, 'should_stop', lambda told, step: step == 2)
        with pytest.raises(SystemExit):
            pretrain(mri(pretrained), tmp_path)
    pretrain(mri(pretrained), tmp_path)
    a, b = (load_export(path / 'export' / 'encoder_decoder')[0] for path in (run, tmp_path))
    same(a, b)
    with pytest.raises(UserError, match='config.init=.*, but this command has config.init=scratch'):
        pretrain(mri('scratch'), tmp_path)


def test_what_a_run_began_with_is_told_and_travels(run, mri, pretrained, make_target, tmp_path):
    init = pretrained / 'export' / 'encoder_decoder'
    origin = f'from {init}: encoder, decoder and head (7'
    report = (run / 'report.md').read_text()
    assert f'- start: {origin}' in report and '- recipe: some.py, but width=2' in report
    for name in ('encoder', 'encoder_decoder'):
        _, card = load_export(run / 'export' / name)
        assert card['provenance']['loaded'] == ['encoder', 'decoder', 'head']
        assert card['start'][0].startswith(origin) and 'new' not in card['provenance']
    public = card.provenance.public()
    assert str(init) not in str(public)

    # --- To a fine-tuning, and to one more pre-training.
    _, tuned, _ = begin(make_target('seg', init=str(run)))
    undone = 'out-painting, in-painting'
    assert tuned.lines[1] == f'pre-trained to restore small (ct) after {undone}'
    assert tuned.lines[2].startswith(f'which began {origin}')
    again = begun(mri(run)).provenance
    assert again.before.folder == str(init) and again.before.before is None


def test_scratch_is_told(mri):
    start = begun(mri('scratch'))
    assert not start.variables
    assert start.lines == ('from scratch: encoder, decoder, head are randomly initialised',)
    for config in (demo, genesis_ct_2d, genesis_mri, genesis_ultrasound, genesis_xray):
        assert config.get_config().init == 'scratch'


def test_a_published_file_is_loaded_whole(golden):
    pytest.importorskip('torch', reason='reading the published .pt file needs PyTorch')
    start = begun(from_file(golden / PUBLISHED, width=4))
    same(start.variables, convert.read(golden / PUBLISHED)[0])
    assert start.lines[0].startswith(f'from {golden / PUBLISHED}: encoder, decoder and head (')
    assert start.lines[1].startswith('converted from pytorch, sha256 ')


def test_other_channels_take_a_new_head(pretrained):
    start = begun(from_file(pretrained), channels=2)
    assert [*start.variables['params']] == ['encoder', 'decoder']
    assert start.lines[1:] == (
        'first kernel: 1 input channels there, 2 here: repeated and rescaled',
        'head: 1 output channels there, 2 here: starts anew',
        'not loaded from there: head',
        'randomly initialised: head',
    )


@pytest.mark.parametrize('kind', ['segments', 'restores'])
def test_the_head_of_another_task_is_left(kind, tmp_path):
    """Even where it would fit."""
    variables, card = make(kind)
    convert.write(tmp_path / 'ours', variables, card, 'orbax')
    start = begun(from_file(tmp_path / 'ours'), channels=card.out_channels)
    assert ('head' in start.parts) == (kind == 'restores')
    assert not any(line.startswith('head: ') for line in start.lines)


@pytest.mark.parametrize(
    'name, fields, words',
    [
        ('', {'model__width': 4}, 'config.model.width=2, this run has 4; add --config.model.width'),
        ('', {'dimensions': 2, 'transforms__flip_axes': (0, 1)}, 'holds a 3D network'),
        ('export/encoder', {}, 'holds encoder and no decoder; name an export .* as config.init$'),
        ('nowhere', {}, 'there is no such file or folder as .*, or scratch$'),
    ],
)
def test_what_does_not_fit_is_told_before_the_dataset(name, fields, words, pretrained, tmp_path):
    places = {'init': str(pretrained / name), 'data__dir': str(tmp_path / 'none')}
    fields = {'model__width': 2, 'batch_size': 4} | places | fields
    with pytest.raises(UserError, match=words) as raised:
        pretrain(changed(**fields), tmp_path / 'run')
    assert '\n' not in str(raised.value) and not (tmp_path / 'run').exists()


def test_a_resnet_of_imagenet_takes_a_new_decoder(tmp_path):
    torch = pytest.importorskip('torch', reason='the reference ResNet is made in PyTorch')
    import resnets

    torch.save(resnets.drawn(width=4).state_dict(), tmp_path / 'resnet18.pth')
    config = genesis_ct_2d.get_config()
    config.init, config.model.width = str(tmp_path / 'resnet18.pth'), 4
    start = begun(config)
    assert start.parts == ('encoder',)
    assert start.lines[-3:] == (
        'first kernel: 3 input channels there, 1 here: summed',
        'a ResNet-18 has no decoder, which starts anew',
        'randomly initialised: decoder, head',
    )
