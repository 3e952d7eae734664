"""Record one training step of each family in PyTorch: ``python tests/nn/record_pytorch.py``.

Needs torch. Writes ``pytorch.json`` beside this file. The networks are written here once more, in
PyTorch's own layers with the sizes of all inputs spelled out, from the papers and the layouts that
PyTorch's users know, without dropout.
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

try:
    from .pytorch_cases import CASES, CLASSES, STEP, batch, digest, weights
except ImportError:  # run as a script
    from pytorch_cases import CASES, CLASSES, STEP, batch, digest, weights

PLACE = Path(__file__).with_name("pytorch.json")


def flat_size(features, input_shape):
    features.eval()  # running statistics are not to move
    with torch.no_grad():
        size = features(torch.zeros(1, *input_shape)).numel()
    features.train()
    return size


# --- LeNet, AlexNet, VGG ---------------------------------------------------------------------


class LeNet5(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(F.relu(self.fc2(x)))


class Classifier(nn.Module):
    """Features, then two hidden dense layers, as AlexNet and VGG have them."""

    def __init__(self, features, input_shape, hidden, classes):
        super().__init__()
        self.features = features
        self.fc1 = nn.Linear(flat_size(features, input_shape), hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, classes)

    def forward(self, x):
        x = torch.flatten(self.features(x), 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def alexnet(input_shape, classes, width, hidden):
    features = nn.Sequential(
        nn.Conv2d(3, width, kernel_size=11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(width, 3 * width, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(3 * width, 6 * width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6 * width, 4 * width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4 * width, 4 * width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
    )
    return Classifier(features, input_shape, hidden, classes)


def vgg(letters, input_shape, classes, width, hidden, batchnorm=False):
    """`letters` are channels in units of `width`, M is pooling."""
    layers, channels = [], 3
    for letter in letters:
        if letter == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(channels, int(letter) * width, 3, padding=1))
        channels = int(letter) * width
        layers += [nn.BatchNorm2d(channels), nn.ReLU()] if batchnorm else [nn.ReLU()]
    return Classifier(nn.Sequential(*layers), input_shape, hidden, classes)


def vgg11(**arguments):
    return vgg("1M2M44M88M88M", **arguments)


def vgg16(**arguments):
    return vgg("11M22M444M888M888M", **arguments)


# --- GoogLeNet and Inception -----------------------------------------------------------------


class Unit(nn.Module):
    """Convolution, normalization, rectifier, as all Inception networks have it."""

    def __init__(self, channels, out_channels, kernel_size, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Modules on the same input, their channels put together."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def chain(channels, *units):
    """Units one behind the other: (out_channels, kernel_size[, stride[, padding]])."""
    modules = []
    for out_channels, *rest in units:
        modules.append(Unit(channels, out_channels, *rest))
        channels = out_channels
    return nn.Sequential(*modules)


class Head(nn.Module):
    """A body, the mean over the image, a dense layer."""

    def __init__(self, body, channels, classes):
        super().__init__()
        self.body = body
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.body(x), 1), 1))


def googlenet(input_shape, classes, width):
    def c(channels):
        return channels * width // 64

    def block(channels, ones, reduce3, three, reduce5, five, pool):
        channels = c(channels)
        return Branches(
            chain(channels, (c(ones), 1)),
            chain(channels, (c(reduce3), 1), (c(three), 3, 1, 1)),
            chain(channels, (c(reduce5), 1), (c(five), 3, 1, 1)),
            nn.Sequential(
                nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), Unit(channels, c(pool), 1)
            ),
        )

    body = nn.Sequential(
        Unit(3, c(64), 7, 2, 3),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Unit(c(64), c(64), 1),
        Unit(c(64), c(192), 3, 1, 1),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        block(192, 64, 96, 128, 16, 32, 32),
        block(256, 128, 128, 192, 32, 96, 64),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        block(480, 192, 96, 208, 16, 48, 64),
        block(512, 160, 112, 224, 24, 64, 64),
        block(512, 128, 128, 256, 24, 64, 64),
        block(512, 112, 144, 288, 32, 64, 64),
        block(528, 256, 160, 320, 32, 128, 128),
        nn.MaxPool2d(2, stride=2, ceil_mode=True),
        block(832, 256, 160, 320, 32, 128, 128),
        block(832, 384, 192, 384, 48, 128, 128),
    )
    return Head(body, c(1024), classes)


def averaged(channels, pool, count_include_pad):
    return nn.Sequential(
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=count_include_pad),
        Unit(channels, pool, 1),
    )


def inception_v3(input_shape, classes, width):
    def c(channels):
        return channels * width // 32

    def square(channels, pool):
        channels = c(channels)
        return Branches(
            chain(channels, (c(64), 1)),
            chain(channels, (c(48), 1), (c(64), 5, 1, 2)),
            chain(channels, (c(64), 1), (c(96), 3, 1, 1), (c(96), 3, 1, 1)),
            averaged(channels, c(pool), True),
        )

    def asymmetric(inner):
        channels, inner = c(768), c(inner)
        row, column = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        return Branches(
            chain(channels, (c(192), 1)),
            chain(channels, (inner, 1), (inner, *row), (c(192), *column)),
            chain(
                channels,
                (inner, 1),
                (inner, *column),
                (inner, *row),
                (inner, *column),
                (c(192), *row),
            ),
            averaged(channels, c(192), True),
        )

    def spread(channels):
        channels = c(channels)

        def split():
            return Branches(
                Unit(c(384), c(384), (1, 3), 1, (0, 1)), Unit(c(384), c(384), (3, 1), 1, (1, 0))
            )

        return Branches(
            chain(channels, (c(320), 1)),
            nn.Sequential(Unit(channels, c(384), 1), split()),
            nn.Sequential(Unit(channels, c(448), 1), Unit(c(448), c(384), 3, 1, 1), split()),
            averaged(channels, c(192), True),
        )

    body = nn.Sequential(
        chain(3, (c(32), 3, 2), (c(32), 3), (c(64), 3, 1, 1)),
        nn.MaxPool2d(3, stride=2),
        chain(c(64), (c(80), 1), (c(192), 3)),
        nn.MaxPool2d(3, stride=2),
        square(192, 32),
        square(256, 64),
        square(288, 64),
        Branches(
            chain(c(288), (c(384), 3, 2)),
            chain(c(288), (c(64), 1), (c(96), 3, 1, 1), (c(96), 3, 2)),
            nn.MaxPool2d(3, stride=2),
        ),
        asymmetric(128),
        asymmetric(160),
        asymmetric(160),
        asymmetric(192),
        Branches(
            chain(c(768), (c(192), 1), (c(320), 3, 2)),
            chain(
                c(768),
                (c(192), 1),
                (c(192), (1, 7), 1, (0, 3)),
                (c(192), (7, 1), 1, (3, 0)),
                (c(192), 3, 2),
            ),
            nn.MaxPool2d(3, stride=2),
        ),
        spread(1280),
        spread(2048),
    )
    return Head(body, c(2048), classes)


def inception_v4(input_shape, classes, width):
    def c(channels):
        return channels * width // 32

    def square():
        return Branches(
            chain(c(384), (c(96), 1)),
            chain(c(384), (c(64), 1), (c(96), 3, 1, 1)),
            chain(c(384), (c(64), 1), (c(96), 3, 1, 1), (c(96), 3, 1, 1)),
            averaged(c(384), c(96), False),
        )

    def asymmetric():
        row, column = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        return Branches(
            chain(c(1024), (c(384), 1)),
            chain(c(1024), (c(192), 1), (c(224), *row), (c(256), *column)),
            chain(
                c(1024),
                (c(192), 1),
                (c(192), *column),
                (c(224), *row),
                (c(224), *column),
                (c(256), *row),
            ),
            averaged(c(1024), c(128), False),
        )

    def spread():
        def split(channels):
            return Branches(
                Unit(channels, c(256), (1, 3), 1, (0, 1)), Unit(channels, c(256), (3, 1), 1, (1, 0))
            )

        return Branches(
            chain(c(1536), (c(256), 1)),
            nn.Sequential(Unit(c(1536), c(384), 1), split(c(384))),
            nn.Sequential(
                Unit(c(1536), c(384), 1),
                Unit(c(384), c(448), (3, 1), 1, (1, 0)),
                Unit(c(448), c(512), (1, 3), 1, (0, 1)),
                split(c(512)),
            ),
            averaged(c(1536), c(256), False),
        )

    body = nn.Sequential(
        chain(3, (c(32), 3, 2), (c(32), 3), (c(64), 3, 1, 1)),
        Branches(nn.MaxPool2d(3, stride=2), Unit(c(64), c(96), 3, 2)),
        Branches(
            chain(c(160), (c(64), 1), (c(96), 3)),
            chain(
                c(160),
                (c(64), 1),
                (c(64), (1, 7), 1, (0, 3)),
                (c(64), (7, 1), 1, (3, 0)),
                (c(96), 3),
            ),
        ),
        Branches(Unit(c(192), c(192), 3, 2), nn.MaxPool2d(3, stride=2)),
        *(square() for _ in range(4)),
        Branches(
            chain(c(384), (c(384), 3, 2)),
            chain(c(384), (c(192), 1), (c(224), 3, 1, 1), (c(256), 3, 2)),
            nn.MaxPool2d(3, stride=2),
        ),
        *(asymmetric() for _ in range(7)),
        Branches(
            chain(c(1024), (c(192), 1), (c(192), 3, 2)),
            chain(
                c(1024),
                (c(256), 1),
                (c(256), (1, 7), 1, (0, 3)),
                (c(320), (7, 1), 1, (3, 0)),
                (c(320), 3, 2),
            ),
            nn.MaxPool2d(3, stride=2),
        ),
        *(spread() for _ in range(3)),
    )
    return Head(body, c(1536), classes)


class Added(nn.Module):
    """x plus a 1 x 1 convolution of what branches find, rectified."""

    def __init__(self, branches, found, channels, rectified=True):
        super().__init__()
        self.branches = branches
        self.conv = nn.Conv2d(found, channels, 1)
        self.rectified = rectified

    def forward(self, x):
        x = x + self.conv(self.branches(x))
        return F.relu(x) if self.rectified else x


def inception_resnet_v2(input_shape, classes, width, repeats):
    def c(channels):
        return channels * width // 32

    def square():
        branches = Branches(
            chain(c(320), (c(32), 1)),
            chain(c(320), (c(32), 1), (c(32), 3, 1, 1)),
            chain(c(320), (c(32), 1), (c(48), 3, 1, 1), (c(64), 3, 1, 1)),
        )
        return Added(branches, c(128), c(320))

    def asymmetric():
        branches = Branches(
            chain(c(1088), (c(192), 1)),
            chain(c(1088), (c(128), 1), (c(160), (1, 7), 1, (0, 3)), (c(192), (7, 1), 1, (3, 0))),
        )
        return Added(branches, c(384), c(1088))

    def spread(rectified):
        branches = Branches(
            chain(c(2080), (c(192), 1)),
            chain(c(2080), (c(192), 1), (c(224), (1, 3), 1, (0, 1)), (c(256), (3, 1), 1, (1, 0))),
        )
        return Added(branches, c(448), c(2080), rectified)

    body = nn.Sequential(
        chain(3, (c(32), 3, 2), (c(32), 3), (c(64), 3, 1, 1)),
        nn.MaxPool2d(3, stride=2),
        chain(c(64), (c(80), 1), (c(192), 3)),
        nn.MaxPool2d(3, stride=2),
        Branches(
            chain(c(192), (c(96), 1)),
            chain(c(192), (c(48), 1), (c(64), 5, 1, 2)),
            chain(c(192), (c(64), 1), (c(96), 3, 1, 1), (c(96), 3, 1, 1)),
            averaged(c(192), c(64), False),
        ),
        *(square() for _ in range(repeats[0])),
        Branches(
            chain(c(320), (c(384), 3, 2)),
            chain(c(320), (c(256), 1), (c(256), 3, 1, 1), (c(384), 3, 2)),
            nn.MaxPool2d(3, stride=2),
        ),
        *(asymmetric() for _ in range(repeats[1])),
        Branches(
            chain(c(1088), (c(256), 1), (c(384), 3, 2)),
            chain(c(1088), (c(256), 1), (c(288), 3, 2)),
            chain(c(1088), (c(256), 1), (c(288), 3, 1, 1), (c(320), 3, 2)),
            nn.MaxPool2d(3, stride=2),
        ),
        *(spread(index < repeats[2] - 1) for index in range(repeats[2])),
        Unit(c(2080), c(1536), 1),
    )
    return Head(body, c(1536), classes)


# --- ResNet ----------------------------------------------------------------------------------


def conv3x3(channels, out_channels, stride=1, groups=1):
    return nn.Conv2d(channels, out_channels, 3, stride, 1, groups=groups, bias=False)


def conv1x1(channels, out_channels, stride=1):
    return nn.Conv2d(channels, out_channels, 1, stride, bias=False)


class Basic(nn.Module):
    def __init__(self, channels, out_channels, stride):
        super().__init__()
        self.conv1 = conv3x3(channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or channels != out_channels:
            self.downsample = nn.Sequential(
                conv1x1(channels, out_channels, stride), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    def __init__(self, channels, inner, out_channels, stride, groups):
        super().__init__()
        self.conv1 = conv1x1(channels, inner)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv3x3(inner, inner, stride, groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv1x1(inner, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or channels != out_channels:
            self.downsample = nn.Sequential(
                conv1x1(channels, out_channels, stride), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(out)))))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class PreBasic(nn.Module):
    """`plain`: what comes in is rectified already."""

    def __init__(self, channels, out_channels, stride, plain):
        super().__init__()
        self.bn1 = None if plain else nn.BatchNorm2d(channels)
        self.conv1 = conv3x3(channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.project = None
        if stride != 1 or channels != out_channels:
            self.project = conv1x1(channels, out_channels, stride)

    def forward(self, x):
        out = x if self.bn1 is None else F.relu(self.bn1(x))
        shortcut = x if self.project is None else self.project(out)
        return self.conv2(F.relu(self.bn2(self.conv1(out)))) + shortcut


class PreBottleneck(nn.Module):
    def __init__(self, channels, inner, out_channels, stride, plain):
        super().__init__()
        self.bn1 = None if plain else nn.BatchNorm2d(channels)
        self.conv1 = conv1x1(channels, inner)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv2 = conv3x3(inner, inner, stride)
        self.bn3 = nn.BatchNorm2d(inner)
        self.conv3 = conv1x1(inner, out_channels)
        self.project = None
        if stride != 1 or channels != out_channels:
            self.project = conv1x1(channels, out_channels, stride)

    def forward(self, x):
        out = x if self.bn1 is None else F.relu(self.bn1(x))
        shortcut = x if self.project is None else self.project(out)
        out = F.relu(self.bn2(self.conv1(out)))
        return self.conv3(F.relu(self.bn3(self.conv2(out)))) + shortcut


def resnet_stem(channels, width, small):
    if small:
        return [conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU()]
    return [
        nn.Conv2d(channels, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]


def basic_resnet(counts, input_shape, classes, width, preactivation=False, small=False):
    modules, channels = resnet_stem(input_shape[0], width, small), width
    for stage, count in enumerate(counts):
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            out_channels = width * 2**stage
            if preactivation:
                modules.append(PreBasic(channels, out_channels, stride, stage == index == 0))
            else:
                modules.append(Basic(channels, out_channels, stride))
            channels = out_channels
    if preactivation:
        modules += [nn.BatchNorm2d(channels), nn.ReLU()]
    return Head(nn.Sequential(*modules), channels, classes)


def resnet18(**arguments):
    return basic_resnet((2, 2, 2, 2), **arguments)


def resnet_small(depth, **arguments):
    return basic_resnet(3 * [(depth - 2) // 6], small=True, **arguments)


def resnet50(input_shape, classes, width, preactivation=False, cardinality=1, group_width=None):
    modules, channels = resnet_stem(input_shape[0], width, False), width
    for stage, count in enumerate((3, 4, 6, 3)):
        out_channels = 4 * width * 2**stage
        inner = (cardinality * group_width if group_width else width) * 2**stage
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            if preactivation:
                plain = stage == index == 0
                modules.append(PreBottleneck(channels, inner, out_channels, stride, plain))
            else:
                modules.append(Bottleneck(channels, inner, out_channels, stride, cardinality))
            channels = out_channels
    if preactivation:
        modules += [nn.BatchNorm2d(channels), nn.ReLU()]
    return Head(nn.Sequential(*modules), channels, classes)


# --- DenseNet --------------------------------------------------------------------------------


class DenseLayer(nn.Module):
    def __init__(self, channels, growth):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = conv1x1(channels, 4 * growth)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = conv3x3(4 * growth, growth)

    def forward(self, x):
        new = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(new)))], 1)


def dense_body(stem, channels, blocks, growth, classes):
    modules = stem
    for index, count in enumerate(blocks):
        if index > 0:
            modules += [
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                conv1x1(channels, channels // 2),
                nn.AvgPool2d(2, 2),
            ]
            channels //= 2
        for _ in range(count):
            modules.append(DenseLayer(channels, growth))
            channels += growth
    modules += [nn.BatchNorm2d(channels), nn.ReLU()]
    return Head(nn.Sequential(*modules), channels, classes)


def densenet121(input_shape, classes, growth):
    stem = resnet_stem(input_shape[0], 2 * growth, small=False)
    return dense_body(stem, 2 * growth, (6, 12, 24, 16), growth, classes)


def densenet_small(input_shape, classes, blocks, growth):
    stem = [conv3x3(input_shape[0], 2 * growth)]
    return dense_body(stem, 2 * growth, blocks, growth, classes)


# --- recording -------------------------------------------------------------------------------

NETWORKS = {
    "lenet5": LeNet5,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "vgg16": vgg16,
    "googlenet": googlenet,
    "inception_v3": inception_v3,
    "inception_v4": inception_v4,
    "inception_resnet_v2": inception_resnet_v2,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "resnext50": resnet50,
    "resnet_small": resnet_small,
    "densenet121": densenet121,
    "densenet_small": densenet_small,
}


def twin(case, dtype):
    """PyTorch's network of a case, with the case's weights."""
    sizes = {name: value for name, value in case.arguments.items() if name != "dropout"}
    net = NETWORKS[case.builder](input_shape=case.input_shape, classes=CLASSES, **sizes).to(dtype)
    theta = weights([tuple(each.shape) for each in net.parameters()])
    put(net, torch.tensor(theta, dtype=dtype))
    return net


def put(net, theta):
    torch.nn.utils.vector_to_parameters(theta, net.parameters())


def train_once(case, dtype):
    """Loss, gradient, the running statistics after it, and the scores of one step further."""
    net = twin(case, dtype)
    images, labels = batch(case)
    images, labels = torch.tensor(images, dtype=dtype), torch.tensor(labels)
    loss = F.cross_entropy(net(images), labels)
    loss.backward()
    gradient = torch.cat([each.grad.ravel() for each in net.parameters()])
    with torch.no_grad():
        theta = torch.nn.utils.parameters_to_vector(net.parameters())
        put(net, theta - STEP * gradient / gradient.norm())
        running = [each.ravel() for each in net.buffers() if each.dtype == dtype]
        net.eval()
        scores = net(images)
    return {
        "loss": loss.item(),
        "gradient": gradient.numpy(),
        "running": torch.cat(running).numpy() if running else None,
        "scores": scores.numpy(),
    }


def record(case):
    found = train_once(case, torch.float64)
    return {
        "loss": found["loss"],
        "gradient": digest(found["gradient"]),
        "running": None if found["running"] is None else digest(found["running"]),
        "scores": found["scores"].tolist(),
    }


def record_all():
    return {
        "torch": torch.__version__,
        "cases": {name: record(case) for name, case in CASES.items()},
    }


if __name__ == "__main__":
    PLACE.write_text(json.dumps(record_all(), indent=1) + "\n", encoding="utf-8")
