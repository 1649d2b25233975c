"""The model card (`README.md`) of a network, from its card: what the card lacks is not shown."""
# Not huggingface_hub's ModelCard: a template would have as many conditions, and add two packages.

import json

from genesis_jax.card import Card
from genesis_jax.convert import usage
from genesis_jax.tasks import restoration_loss
from genesis_jax.topology import NETWORKS, norm_of

UNLICENSED = 'to-be-chosen'  # the licence, until the owner of the weights names one
_TASKS = {  # what the hub calls them, and their losses
    'restoration': ('image-feature-extraction', 'of the restoration'),
    'classification': ('image-classification', 'cross-entropy'),
    'multilabel': ('image-classification', 'binary cross-entropy'),
    'segmentation': ('image-segmentation', '1 − soft Dice'),
}
_TAGS = ('medical-imaging', 'models-genesis', 'self-supervised-learning', 'jax', 'pytorch')
_PLANES = {  # of a view
    'adjacent': 'the slice below, its own, the one above',
    'orthogonal': 'the central axial, coronal and sagittal plane',
}
_STATISTICS = {'synchronised': 'running averages', 'official': 'those of the batch'}


def render(name: str, card: Card, parameters: int, dtype: str) -> str:
    """The text.

    Args:
      name: of the folder.
      card: of the network, see `genesis_jax.convert`.
      parameters: how many there are.
      dtype: of the arrays.
    """
    task = card.objective
    blocks = [
        _front_matter(card, task),
        f'# {" ".join(name.split())}',
        _opening(card, task),
        _table('The network', _network(card, parameters, dtype)),
        _table('What it has seen', _data(card)),
        _table('How it was trained', _training(card)),
        _table('Losses', _losses(card, task)),
        _table('Where the weights come from', _source(card)),
        '## Intended use',
        _use(card, task),
        '## Limits',
        '\n'.join(f'- {line}' for line in _limits(card, dtype)),
        '## How to load it',
        usage.render(name, card),
        '## Licence',
        'Not chosen yet: whoever publishes these weights names a licence here and in `license` '
        'above, one that the terms of the data allow. The method is the subject of US patent '
        '11,922,628.',
        '## Citation',
        _CITATION,
    ]
    return '\n\n'.join(block for block in blocks if block) + '\n'


def _front_matter(card, task):
    """YAML for the hub; JSON's strings and lists are YAML's, whatever they hold."""
    tags = [*_TAGS, f'{card.dimensions}d', *([card.modality] if card.modality else [])]
    fields = {
        'library_name': 'genesis_jax',
        'license': 'other',
        'license_name': UNLICENSED,
        'pipeline_tag': _TASKS[task][0] if task else None,
        'tags': tags,
        'datasets': [dataset] if (dataset := card.dataset) else None,
    }
    lines = [f'{name}: {json.dumps(value)}' for name, value in fields.items() if value]
    return '\n'.join(['---', *lines, '---'])


def _opening(card, task):
    what, dataset = usage.words(card), card.dataset
    on = f' on `{dataset}`' if dataset else ''
    if task == 'restoration':
        example, examples, source = card.called()
        seen = examples + (f' of {source}s' if source != example else '')
        return f'{what}, pre-trained{on} to restore corrupted {seen} (Models Genesis).'
    if task:
        return f'{what}, trained{on} for {task}.'
    return f'{what} in the layout of Models Genesis, converted from another format.'


def _network(card, parameters, dtype):
    model = card.model
    decoder = 'decoder' in card.parts
    yield 'network', usage.words(card)
    yield 'parts', _join(card.parts)
    yield 'parameters', f'{parameters:,}'
    yield 'channels of the first convolution', model['width']
    yield 'input channels', _channels(card)
    yield 'outputs', card.out_channels if 'head' in card.parts else None
    yield 'classes', _join(card.classes)
    yield 'units of the hidden layer', model.get('hidden') or None
    yield 'upsampling', model.get('upsample') if decoder else None
    norm = norm_of(model, card.dimensions)
    yield 'residual blocks of the stages', _join(map(str, model.get('blocks') or ()))
    yield f'epsilon of {norm} normalisation', model.get('epsilon')
    if norm == 'batch':
        yield 'momentum of the running averages', model.get('batch_norm_momentum')
        yield 'batch normalisation in evaluation', _STATISTICS.get(model.get('batch_statistics'))
    yield 'numbers', dtype


def _data(card):
    config, spacing = card.config, card.spacing
    _, examples, source = card.called()
    yield 'dataset', card.dataset
    yield 'modality', card.modality
    if source == 'scan':  # images have neither folds nor millimetres, and are examples themselves
        yield 'scans', _pairs(card.scans)
        yield 'folds', _pairs(card.folds)
    yield 'patients', _pairs(card.patients)
    yield 'share of the training patients', config.get('label_fraction')
    yield examples, _pairs(card.cubes)
    yield 'examples', _pairs(card.examples)
    elements = {3: 'voxels of a patch', 2: 'pixels of an image'}[card.dimensions]
    yield elements, _size((card.cube_shape or ())[:-1])
    if card.modality and source == 'scan':
        yield 'spacing', f'{_size(spacing)} mm' if spacing else "each scan's own"
    yield 'intensities', _intensities(card)


def _training(card):
    config = card.config
    yield 'start', _join(card.provenance and card.provenance.lines, '; ')
    yield 'corruption', _settings(config.get('transforms'))
    yield 'augmentation', _settings(config.get('augment'))
    yield 'optimiser', _settings(config.get('optimizer'))
    yield 'schedule', _settings(config.get('schedule'))
    yield 'batch', config.get('batch_size')
    yield 'frozen', config.get('freeze') if config.get('freeze') != 'none' else None
    yield 'seed', config.get('seed')
    yield 'tested on fold', card.fold
    yield 'epochs', card.epochs
    yield 'steps of these weights, the best', card.step
    yield f'{card.called()[1]} a second', _number(card.examples_per_second, 3)
    yield 'device', card.device
    yield 'hash of the config', card.config_hash


def _losses(card, task):
    baselines, (example, *_) = card.baselines or {}, card.called()
    loss = _TASKS[task][1] if task and card.validation_loss is not None else None
    if loss and task == 'restoration':
        loss = restoration_loss(**(card.config.get('loss') or {}))
    yield 'loss', loss
    yield 'on the validation examples', _number(card.validation_loss)
    yield f'of the corrupted {example} left unchanged', _number(baselines.get('unchanged'))
    yield f'of the mean of each {example}', _number(baselines.get('cube_mean'))


def _source(card):
    if source := card.source:
        yield 'file', source.file
        yield 'SHA-256', source.sha256
        yield 'format', source.format
        yield 'skipped', _join(source.left_out)
    yield 'epoch it tells', (card.pytorch or {}).get('epoch')


def _use(card, task):
    *_, source = card.called()
    if task and task != 'restoration':
        return (
            f'Research on {task} of {source}s like those above, prepared in the same way: as it '
            'is, or as the start of another task.'
        )
    return (
        f'The start of target tasks in {card.dimensions}D medical imaging: classification takes '
        'the encoder, segmentation the encoder and the decoder; both learn further on labelled '
        f'{source}s.'
    )


def _limits(card, dtype):
    *_, source = card.called()
    yield 'For research. It is no medical device, and nothing here was tested for use on patients.'
    if card.dataset:
        yield (
            f'A test on {source}s that it has seen tells nothing. What else those {source}s have '
            'in common (patients, scanners, hospitals) is not recorded here.'
        )
    else:
        yield f'Which {source}s it has seen is not recorded here: ask where the weights come from.'
    divisor = NETWORKS[card.topology].divisor(card.model)
    yield f'It takes {card.in_channels} channel(s), and sides that divide by {divisor}.'
    of_batch = norm_of(card.model, card.dimensions) == 'batch'
    if of_batch and card.model.get('batch_statistics') == 'official':
        yield 'It normalises with the batch at hand: a prediction depends on its neighbours.'
    if dtype != 'float32':
        yield f'The arrays are rounded to {dtype}.'


def _intensities(card):
    window = card.window or (card.config.get('data') or {}).get('window')
    if not window and card.modality == 'ct':
        window = (-1000, 1000)  # the only one that data_prep gives to CT
    if window:
        return f'{window[0]:g} … {window[1]:g} become 0 … 1, clipped'
    *_, source = card.called()
    if not card.modality or (source == 'image' and card.full_range is None):
        return None
    if source == 'image' and card.full_range:
        return (
            "0 … 255 of 8 bits and 0 … 65535 of 16 bits become 0 … 1; of 32 bits, each image's own "
            'robust range'
        )
    whole = 'minimum and maximum' if card.full_range else 'robust range'
    return f"each {source}'s own {whole} become 0 … 1, clipped"


def _channels(card):
    """How many there are or what they are; of a view, which planes."""
    of, planes = _join(card.channels), _PLANES.get(card.view)
    if planes is None:
        return of or card.in_channels
    several = f'{of} of ' if len(card.channels or ()) > 1 else ''
    return f'{card.in_channels}: {several}{planes}'


def _table(title, rows):
    """A section with what is known, or nothing."""
    known = [(label, value) for label, value in rows if value not in (None, '')]
    if not known:
        return ''
    lines = [f'| {label} | {_cell(value)} |' for label, value in known]
    return '\n'.join([f'## {title}', '', '| | |', '| --- | --- |', *lines])


def _cell(value):
    return ' '.join(str(value).split()).replace('|', '\\|')


def _join(values, comma=', '):
    return comma.join(map(str, values or ()))


def _pairs(counts):
    """`train 20, validation 8`; of lists `train 0, 1; validation 5`."""
    lists = any(isinstance(value, list) for value in (counts or {}).values())
    words = [f'{k} {_join(v) if lists else v}' for k, v in (counts or {}).items()]
    return _join(words, '; ' if lists else ', ')


def _settings(fields):
    """`sgd, learning rate 1.0, momentum 0.9`: a group of a config."""
    fields = dict(fields or {})
    words = [fields.pop('name')] if 'name' in fields else []
    for name, value in fields.items():
        text = _join(value, ' ') if isinstance(value, list) else value
        words += [] if value is None else [f'{name.replace("_", " ")} {text}']
    return ', '.join(words)


def _size(sides):
    return ' × '.join(f'{side:g}' for side in sides)


def _number(value, digits=5):
    return None if value is None else f'{value:.{digits}g}'


_CITATION = """\
- Z. Zhou, V. Sodha, M. M. Rahman Siddiquee, R. Feng, N. Tajbakhsh, M. B. Gotway, J. Liang. *Models
  Genesis: Generic Autodidactic Models for 3D Medical Image Analysis.* MICCAI 2019.
- Z. Zhou, V. Sodha, J. Pang, M. B. Gotway, J. Liang. *Models Genesis.* Medical Image Analysis 67,
  2021."""
