"""Networks of a laboratory, for tests of `config.model.module`."""

import flax.linen as nn
import jax.numpy as jnp


class Encoder(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train):
        sides = (3,) * (x.ndim - 2)
        fine = nn.relu(nn.Conv(self.width, sides, name='first')(x))
        coarse = nn.Conv(2 * self.width, sides, strides=2, name='down')(fine)
        norm = nn.BatchNorm(use_running_average=not train)
        return [fine, nn.relu(norm(coarse))]


class Decoder(nn.Module):
    width: int

    @nn.compact
    def __call__(self, levels):
        fine, coarse = levels
        up = nn.ConvTranspose(self.width, (2,) * (fine.ndim - 2), strides=(2,) * (fine.ndim - 2))
        return nn.relu(nn.Conv(self.width, (1,))(jnp.concatenate([fine, up(coarse)], -1)))


class MyUNet(nn.Module):
    """A network that keeps to the contract of genesis_jax/models/outside.py."""

    out_channels: int
    width: int = 8
    divisor = 2

    def setup(self):
        self.encoder, self.decoder = Encoder(self.width), Decoder(self.width)
        self.head = nn.Dense(self.out_channels)

    def encode(self, x, *, train):
        return self.encoder(x, train)

    def __call__(self, x, *, train):
        return self.head(self.decoder(self.encode(x, train=train)))


class NoDecoder(nn.Module):
    out_channels: int
    divisor = 2

    @nn.compact
    def __call__(self, x, *, train):
        features = Encoder(2, name='encoder')(x, train)[0]
        return nn.Dense(self.out_channels, name='head')(features)


class Fails(nn.Module):
    out_channels: int

    def __call__(self, x, *, train):
        raise ValueError('no such luck')


class NoOutputs(nn.Module):
    def __call__(self, x, *, train):
        return x


NOT_A_MODULE = dict
