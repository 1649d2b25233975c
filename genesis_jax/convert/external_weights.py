"""The card of a network that was not trained here: what its file says of itself, and no more."""

import hashlib
import shlex
from pathlib import Path

from genesis_jax.convert import names, resnet
from genesis_jax.errors import UserError

_OF_KIND = {'unet': 'upsample', 'classifier': 'hidden'}  # what else describes a network


def card_of(architecture, path, format, conventions):
    """The card of a foreign file.

    Args:
      architecture: `names.Architecture`.
      path: of the file; its name and its hash tell where the weights come from.
      format: one of `convert.FORMATS`.
      conventions: of its framework: epsilon, statistics_momentum, batch_statistics.
    """
    of_network = _OF_KIND[architecture.kind]
    model = {'width': architecture.width, of_network: getattr(architecture, of_network)}
    with Path(path).open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return {
        'network': architecture.network,
        'parts': list(architecture.parts),
        'in_channels': architecture.in_channels,
        'outputs': architecture.outputs,
        'config': {'model': model | conventions},
        'source': {'file': Path(path).name, 'sha256': digest, 'format': format},
    }


def of_pytorch(state, path, format):
    """`(state dict, card)` of names and shapes alone, without the classifier of an ImageNet file.

    Epsilon and batch statistics decide outputs and are a guess, which the card tells as `assumed`.

    Raises:
      UserError: they are of no network here.
    """
    state, left_out = resnet.without_classifier(state)
    architecture = names.Architecture.of_state(state, path)
    conventions = {
        'epsilon': 1e-5,
        'statistics_momentum': 0.9,
        # (as the published network, and as any ResNet)
        'batch_statistics': 'official' if architecture.dimensions == 3 else 'synchronised',
    }
    # No published PyTorch network in 3D: rather from Keras.
    if architecture.upsample == 'nearest' and architecture.dimensions == 3:
        del conventions['epsilon']
    card = card_of(architecture, path, format, conventions)
    card['assumed'] = [n for n in ('epsilon', 'batch_statistics') if n in conventions]
    if left_out:
        card['source']['left_out'] = left_out
    return state, card


def settle(card, path, epsilon=None):
    """Puts this epsilon into a card, in place; without one, the card must have it.

    Raises:
      UserError: it is not known, and not even likely.
    """
    if epsilon is not None:
        card['config']['model']['epsilon'] = float(epsilon)
        if 'assumed' in card:
            card['assumed'] = [name for name in card['assumed'] if name != 'epsilon']
    elif 'assumed' in card and 'epsilon' not in card['config']['model']:
        raise UserError(
            f'{path} upsamples by nearest neighbours, as Keras networks (epsilon 1e-3) do and '
            'PyTorch networks (1e-5) may, and has no card that tells the epsilon of its batch '
            f'normalisation; run: python -m genesis_jax.convert {shlex.quote(str(path))} TARGET '
            '--epsilon=E, or call from_pretrained(..., epsilon=E)'
        )


def assumed(card, known=()):
    """What was assumed of a file without card, but for the names `known`, in words; or ''."""
    model, source = card['config']['model'], card.get('source') or {}
    guessed = [name for name in card.get('assumed') or () if name in model and name not in known]
    said = ', '.join(f'{name}={model[name]}' for name in guessed)
    return f'assumed, as {source.get("file", "the file")} has no card: {said}' if said else ''


def is_resnet(card):
    """Whether a card is that of a ResNet-18 of another program, as a rule of ImageNet."""
    if not card.get('source'):
        return False
    return list(card['parts']) == ['encoder'] and names.split(card['network'])[1] == 2


def trained_for(card):
    """What a network was trained for here, in words; '' of weights from elsewhere."""
    config = card['config']
    data = config.get('data')
    dataset = data.get('name') if isinstance(data, dict) else None
    task = card.get('task') or config.get('task')
    if not task or not dataset:
        return ''
    if task == 'restoration':
        kind = f' ({card["modality"]})' if card.get('modality') else ''
        return f'pre-trained to restore {dataset}{kind}'
    return f'trained for {task} of {dataset}'


def left_out(card):
    """What a file has and no network here, in words; or ''."""
    found = (card.get('source') or {}).get('left_out')
    return f'left out: {", ".join(found)}' if found else ''
