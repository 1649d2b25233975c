"""ResNets in plain PyTorch, as torchvision and timm name their layers, with random weights."""

import torch
from torch import nn


class _Block(nn.Module):
    """A basic or, with `expansion` 4, a bottleneck block."""

    def __init__(self, channels, width, stride, expansion):
        super().__init__()
        out = width * expansion
        if expansion == 1:
            convs = [(channels, width, 3, stride), (width, out, 3, 1)]
        else:
            convs = [(channels, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
        self.count = len(convs)
        for i, (before, after, side, step) in enumerate(convs, 1):
            conv = nn.Conv2d(before, after, side, step, padding=side // 2, bias=False)
            self.add_module(f'conv{i}', conv)
            self.add_module(f'bn{i}', nn.BatchNorm2d(after))
        if stride > 1 or channels != out:
            conv = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = self.get_submodule(f'bn{i}')(self.get_submodule(f'conv{i}')(y))
            y = y.relu() if i < self.count else y
        return (y + (self.downsample(x) if hasattr(self, 'downsample') else x)).relu()


class ResNet(nn.Module):
    """ResNet-18 unless told otherwise."""

    def __init__(self, blocks=(2, 2, 2, 2), expansion=1, width=64, channels=3, classes=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        before = width
        for stage, count in enumerate(blocks):
            layer, inner = [], width * 2**stage
            for i in range(count):
                layer.append(_Block(before, inner, 2 if stage and not i else 1, expansion))
                before = inner * expansion
            self.add_module(f'layer{stage + 1}', nn.Sequential(*layer))
        if classes:
            self.fc = nn.Linear(before, classes)

    def scales(self, x):
        """Features of five scales: of the stem before its pool, and of each stage."""
        found = [self.bn1(self.conv1(x)).relu()]
        x = self.maxpool(found[0])
        for stage in range(1, 5):
            x = self.get_submodule(f'layer{stage}')(x)
            found.append(x)
        return found


def drawn(seed=0, **options):
    """A ResNet in evaluation with random weights and running averages."""
    torch.manual_seed(seed)
    network = ResNet(**options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            module.num_batches_tracked += 5
    return network
