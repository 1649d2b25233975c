"""The 3D U-Net of Models Genesis (MedIA 2021, section 4; published PyTorch network)."""

from genesis_jax.models.unet import UNet
from genesis_jax.models.unet_encoder import Encoder
from genesis_jax.topology import DIVISORS


class UNet3D(UNet):
    """U-Net of four levels, of `[B, X, Y, Z, C]`; the default has 19,073,665 parameters.

    Level l of the encoder ends with `2 * width * 2**l` channels.
    """

    dimensions = 3
    divisor = DIVISORS[3]
    make_encoder = Encoder
