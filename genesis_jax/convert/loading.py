"""The section of a model card that says how to load the network."""

import shlex

from genesis_jax.convert import names

_ASKED = ('width', 'upsample', 'epsilon')  # of a fine-tuning's config, which must agree


def render(name, card):
    """The text."""
    dimensions = names.split(card['network'])[1]
    usual = {3: (64, 64, 32), 2: (256, 256)}[dimensions]
    shape = card.get('cube_shape') or [*usual, card['in_channels']]
    if 'head' not in card['parts']:
        return _ENCODER.format(name=name, dimensions=dimensions) + _start(name, card)
    text = _WHOLE.format(
        name=name,
        ours=(1, *shape),
        theirs=(1, shape[-1], *shape[:-1]),
        axes='X, Y, Z' if dimensions == 3 else 'X, Y',
    )
    return text + _start(name, card)


def _start(name, card):
    """The command that fine-tunes the network here."""
    config = 'segment' if 'decoder' in card['parts'] else 'classify'
    model = card['config']['model']
    flags = ['--config.dimensions=2'] if names.split(card['network'])[1] == 2 else []
    flags += [f'--config.model.{field}={model[field]}' for field in _ASKED if field in model]
    return _START.format(name=shlex.quote(name), config=config, flags=' '.join(flags))


_WHOLE = """\
PyTorch (in a checkout of genesis-jax: `pip install -e '.[torch,hub]'`):

```python
import torch
from genesis_jax.torch import from_pretrained

network = from_pretrained({name!r})
logits = network(torch.zeros{theirs})  # [B, C, {axes}] in [0, 1]
```

JAX (there: `pip install -e '.[hub]'`):

```python
import jax
import jax.numpy as jnp
from genesis_jax import convert, models

variables, card = convert.read({name!r})
network = models.from_card(card)
logits = jax.jit(network.predict)(variables, jnp.zeros({ours}))  # [B, {axes}, C] in [0, 1]
```
"""
_ENCODER = """\
PyTorch (in a checkout of genesis-jax: `pip install -e '.[torch,hub]'`), new layers for two classes:

```python
from genesis_jax.torch import from_pretrained

network = from_pretrained({name!r}, network='classifier{dimensions}d', hidden=1024, out_channels=2)
```

JAX (there: `pip install -e '.[hub]'`):

```python
from genesis_jax import convert

variables, card = convert.read({name!r})
```
"""
_START = """
Fine-tuning with genesis-jax:

```sh
python main.py --config=configs/{config}.py --workdir=WORKDIR \\
    --config.data.name=DATASET --config.init={name} {flags}
```"""
