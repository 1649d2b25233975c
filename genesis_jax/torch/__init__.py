"""The networks in PyTorch, with the published names of their weights; needs no JAX.

from genesis_jax.torch import UNet3D

network = UNet3D.from_pretrained('Genesis_Chest_CT.pt')  # or .h5, hub folder, export, run
logits = network(patches)  # [B, C, X, Y, Z] in [0, 1]; every side divides by 8

UNet2D and Classifier2D take images [B, C, X, Y], whose sides divide by 32; their encoder is the
standard ResNet-18, and from_pretrained takes ImageNet weights as torchvision and timm publish them.
"""

from genesis_jax.torch.pretrained import (
    Classifier2D,
    Classifier3D,
    UNet2D,
    UNet3D,
    from_card,
    from_pretrained,
)

__all__ = [
    'Classifier2D',
    'Classifier3D',
    'UNet2D',
    'UNet3D',
    'from_card',
    'from_pretrained',
]
