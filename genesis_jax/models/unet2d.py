"""The 2D U-Net: its encoder is a ResNet-18, so that ImageNet weights load (MedIA 2021, 2D rows)."""

from genesis_jax.models.resnet import ResNet18
from genesis_jax.models.unet import UNet
from genesis_jax.topology import DIVISORS


class UNet2D(UNet):
    """U-Net on a ResNet-18, of `[B, X, Y, C]`; the default has 15,818,401 parameters.

    The decoder takes in the four finer scales of the encoder, and a last level without skip brings
    back the sides of the input: 4, 2, 1, 1 and a half times the width channels. (The authors' 2D
    decoder was never published; its levels here are made as those of 3D.)
    """

    width: int = 64

    dimensions = 2
    divisor = DIVISORS[2]
    make_encoder = ResNet18
