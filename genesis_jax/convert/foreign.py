"""The card of a network that was not trained here: what its file says of itself, and no more."""

import hashlib
from pathlib import Path


def card_of(architecture, path, format, conventions):
    """The card of a foreign file.

    Args:
      architecture: `names.Architecture`.
      path: of the file; its name and its hash tell where the weights come from.
      format: one of `convert.FORMATS`.
      conventions: of its framework: epsilon, statistics_momentum, batch_statistics.
    """
    of_network = {'unet3d': 'upsample', 'classifier3d': 'hidden'}[architecture.network]
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
