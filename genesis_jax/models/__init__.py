"""Networks: Flax Linen modules whose variables are plain nested dicts."""

from genesis_jax.models.unet3d import UNet3D

__all__ = ['UNet3D']
