"""How to load a network, in words: of its model card, and of what a conversion prints."""

import shlex

from genesis_jax.card import Card
from genesis_jax.config_json import as_flag
from genesis_jax.topology import NETWORKS, norm_of

# Of a fine-tuning's config, which must agree.
_ASKED = ('name', 'module', 'norm', 'blocks', 'width', 'epsilon')


def has_twin(card: Card) -> bool:
    """Whether `genesis_jax.torch` has the network: of the published ones it has."""
    published = card.topology.startswith('unet') and not card.module
    return published and norm_of(card.model, card.dimensions) == 'batch'


def words(card: Card) -> str:
    """What the network is, such as '3D U-Net'."""
    if card.module:
        return f'{card.dimensions}D network of {card.module}'
    norm, own = norm_of(card.model, card.dimensions), NETWORKS[card.topology]
    other = f' with {norm} normalisation' if norm != own.norm else ''
    return own.words[card.kind == 'classifier'] + other


def render(name: str, card: Card) -> str:
    """The text."""
    start = ' \\\n    '.join(command(name, card))
    start = f'\nFine-tuning with genesis-jax:\n\n```sh\n{start}\n```'
    usual = (64, 64, 32) if card.dimensions == 3 else (256, 256)
    *sides, channels = card.cube_shape or [*usual, card.in_channels]
    torch, jax = _WHOLE if 'head' in card.parts else _ENCODER
    text = (torch + jax if has_twin(card) else jax).format(
        name=name,
        dimensions=card.dimensions,
        ours=(1, *sides, channels),
        theirs=(1, channels, *sides),
        axes='X, Y, Z' if card.dimensions == 3 else 'X, Y',
    )
    return text + start


def command(name: str, card: Card) -> tuple[str, str, str]:
    """The command that fine-tunes the network in `name`: its lines."""
    decodes, model = 'decoder' in card.parts, card.model
    flags = []
    if card.task == 'multilabel':
        flags += ['--config.task=multilabel']
    if card.dimensions == 2:
        flags += ['--config.dimensions=2']
        flags += [f'--config.data.view={card.view}'] if card.view else []
    # Masks are prepared of scans only, so networks of images go on to classify.
    segments = decodes and card.called()[-1] == 'scan'
    # (only a config of segmentation has the field, and only a decoder needs it)
    fields = (*_ASKED, 'upsample') if segments else _ASKED
    flags += [
        f'--config.model.{field}={as_flag(model[field])}'
        for field in fields
        if model.get(field) is not None
    ]
    config = 'segment' if segments else 'classify'
    return (
        f'python main.py --config=configs/{config}.py --workdir=WORKDIR',
        f'--config.data.name=DATASET --config.init={shlex.quote(name)}',
        shlex.join(flags),
    )


_WHOLE = (  # in PyTorch, in JAX
    """\
PyTorch (in a checkout of genesis-jax: `pip install -e '.[torch,hub]'`):

```python
import torch
from genesis_jax.torch import from_pretrained

network = from_pretrained({name!r})
logits = network(torch.zeros{theirs})  # [B, C, {axes}] in [0, 1]
```

""",
    """\
JAX (in a checkout: `pip install -e '.[hub]'`):

```python
import jax
import jax.numpy as jnp
from genesis_jax import convert, models

variables, card = convert.read({name!r})
network = models.from_card(card)
logits = jax.jit(network.predict)(variables, jnp.zeros({ours}))  # [B, {axes}, C] in [0, 1]
```
""",
)
_ENCODER = (
    """\
PyTorch (in a checkout of genesis-jax: `pip install -e '.[torch,hub]'`), new layers for two classes:

```python
from genesis_jax.torch import from_pretrained

network = from_pretrained({name!r}, network='classifier{dimensions}d', hidden=1024, out_channels=2)
```

""",
    """\
JAX (in a checkout: `pip install -e '.[hub]'`):

```python
from genesis_jax import convert

variables, card = convert.read({name!r})
```
""",
)
