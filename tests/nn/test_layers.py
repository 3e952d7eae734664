"""What layers say, which shapes they make, and what they refuse."""

import copy
import pickle

import pytest

from fastopt import nn

IMAGE = (3, 9, 9)


def output_shape(*layers, input_shape=IMAGE):
    return nn.Model(*layers, input_shape=input_shape, loss="mse").output_shape


SHAPES = [
    (nn.Conv2d(4, 3), (4, 7, 7)),
    (nn.Conv2d(4, 3, padding=1, stride=2), (4, 5, 5)),
    (nn.Conv2d(4, (1, 7), padding=(0, 3)), (4, 9, 9)),
    (nn.Conv2d(4, 4, padding="same"), (4, 9, 9)),
    (nn.Conv2d(4, 4, padding="valid"), (4, 6, 6)),
    (nn.Conv2d(4, 3, padding=((1, 0), (2, 0)), dilation=(1, 2)), (4, 8, 7)),
    (nn.Conv2d(6, 3, groups=3), (6, 7, 7)),
    (nn.MaxPool2d(2), (3, 4, 4)),
    (nn.MaxPool2d(2, ceil_mode=True), (3, 5, 5)),
    (nn.MaxPool2d(3, stride=2, padding=1), (3, 5, 5)),
    (nn.AvgPool2d((3, 1), stride=(3, 1)), (3, 3, 9)),
    (nn.GlobalAvgPool2d(), (3,)),
    (nn.Flatten(), (243,)),
    (nn.Identity(), IMAGE),
    (nn.Dropout(), IMAGE),
    (nn.BatchNorm2d(), IMAGE),
    (nn.Sequential(nn.Conv2d(4, 3), nn.Flatten(), nn.Linear(5)), (5,)),
    (nn.Concat(nn.Conv2d(4, 1), nn.Identity()), (7, 9, 9)),
    (nn.Concat(nn.GlobalAvgPool2d(), nn.Flatten()), (246,)),
    (nn.Residual(nn.Conv2d(3, 3, padding=1)), IMAGE),
]


@pytest.mark.parametrize(("layer", "shape"), SHAPES, ids=lambda each: repr(each)[:60])
def test_output_shapes(layer, shape):
    assert output_shape(layer) == shape


def test_parameters_come_in_the_order_of_layers_and_shortcuts_last():
    model = nn.Model(
        nn.Conv2d(4, 3, padding=1, bias=False, name="stem"),
        nn.Residual(
            nn.Conv2d(4, (3, 1), padding=(1, 0), groups=2),
            nn.BatchNorm2d(name="norm"),
            shortcut=nn.Sequential(nn.Conv2d(4, 1)),
            name="block",
        ),
        nn.Concat(nn.Identity(), nn.Conv2d(2, 1)),
        nn.GlobalAvgPool2d(),
        nn.Linear(5),
        input_shape=IMAGE,
    )
    parameters = model.parameters(model.init(0))
    assert {name: value.shape for name, value in parameters.items()} == {
        "stem.weight": (4, 3, 3, 3),
        "block.0.weight": (4, 2, 3, 1),
        "block.0.bias": (4,),
        "block.norm.weight": (4,),
        "block.norm.bias": (4,),
        "block.shortcut.0.weight": (4, 4, 1, 1),
        "block.shortcut.0.bias": (4,),
        "2.1.weight": (2, 4, 1, 1),
        "2.1.bias": (2,),
        "4.weight": (5, 6),
        "4.bias": (5,),
    }
    assert [*parameters][:3] == ["stem.weight", "block.0.weight", "block.0.bias"]
    assert model.n == sum(value.size for value in parameters.values())


EVERY = [
    (nn.Conv2d(16, 3, padding=1), "Conv2d(16, 3, padding=1)"),
    (nn.Conv2d(16, (1, 7), padding=(0, 3), bias=False), "Conv2d(16, (1, 7), padding=(0, 3), "),
    (nn.Conv2d(16, 4, padding="same", name="stem"), "Conv2d(16, 4, padding=((1, 2), (1, 2)), "),
    (nn.Linear(10, init="glorot"), "Linear(10, init='glorot')"),
    (nn.MaxPool2d(2), "MaxPool2d(2)"),
    (nn.AvgPool2d(3, stride=2, count_include_pad=False), "AvgPool2d(3, stride=2, count_inc"),
    (nn.BatchNorm2d(momentum=0.2), "BatchNorm2d(momentum=0.2)"),
    (nn.Dropout(), "Dropout(0.5)"),
    (nn.Residual(nn.ReLU(), shortcut=nn.Tanh()), "Residual(ReLU(), shortcut=Tanh())"),
    (nn.Concat(nn.ReLU(name="a"), name="b"), "Concat(ReLU(name='a'), name='b')"),
]


@pytest.mark.parametrize(("layer", "text"), EVERY, ids=[text for _, text in EVERY])
def test_layers_are_written_as_they_were_made(layer, text):
    assert repr(layer).startswith(text)


@pytest.mark.parametrize("layer", [layer for layer, _ in EVERY], ids=repr)
def test_layers_are_values(layer):
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), copy.copy(layer)):
        assert twin == layer
        assert hash(twin) == hash(layer)
    with pytest.raises(AttributeError):
        layer.name = "other"


def test_one_description_in_two_places_has_two_sets_of_parameters():
    layer = nn.Linear(4)
    model = nn.Model(layer, layer, input_shape=(4,))
    assert model.n == 40


POSITIONAL = {
    "Conv2d(3, 16, 3)": lambda: nn.Conv2d(3, 16, 3),
    "Linear(784, 10)": lambda: nn.Linear(784, 10),
    "BatchNorm2d(64)": lambda: nn.BatchNorm2d(64),
    "MaxPool2d(2, 2)": lambda: nn.MaxPool2d(2, 2),
    "ReLU(True)": lambda: nn.ReLU(True),
}


@pytest.mark.parametrize("call", POSITIONAL.values(), ids=POSITIONAL)
def test_calls_in_the_manner_of_pytorch_are_explained(call):
    with pytest.raises(TypeError, match=r"by position, got \d: sizes of inputs are inferred"):
        call()


ARGUMENTS = {
    "`out_channels` must be a positive": lambda: nn.Conv2d(0, 3),
    "`kernel_size` must be one integer or two": lambda: nn.Conv2d(4, (3, 3, 3)),
    "`kernel_size` must be a positive": lambda: nn.Conv2d(4, (0, 3)),
    "`stride` must be a positive": lambda: nn.MaxPool2d(2, stride=0),
    "`padding` must be a nonnegative": lambda: nn.Conv2d(4, 3, padding=-1),
    "`padding` must be 'same', 'valid' or": lambda: nn.Conv2d(4, 3, padding="full"),
    "`padding` 'same' is for stride 1": lambda: nn.Conv2d(4, 3, padding="same", stride=2),
    "`padding` must be one integer, two, or": lambda: nn.Conv2d(4, 3, padding=((1, 1), (1,))),
    "`padding` must be at most half": lambda: nn.MaxPool2d(2, padding=2),
    "`init` must be one of": lambda: nn.Linear(4, init="zeros"),
    "`p` must be a number in": lambda: nn.Dropout(1.0),
    "`eps` must be": lambda: nn.BatchNorm2d(eps=0.0),
    "`momentum` must be": lambda: nn.BatchNorm1d(momentum=2.0),
    "`slope` must be": lambda: nn.LeakyReLU(-1.0),
    "`name` must have letters": lambda: nn.ReLU(name="a.b"),
    "there must be at least one layer": lambda: nn.Sequential(),
    "must differ in `name`, got '1' twice": lambda: nn.Sequential(nn.ReLU(name="1"), nn.ReLU()),
    "must differ in `name`, got 'shortcut'": lambda: nn.Residual(
        nn.ReLU(name="shortcut"), shortcut=nn.ReLU()
    ),
}


@pytest.mark.parametrize(("message", "call"), ARGUMENTS.items(), ids=ARGUMENTS)
def test_arguments_out_of_range_are_named(message, call):
    with pytest.raises(ValueError, match=message):
        call()


TYPES = {
    r"write ReLU\(\.\.\.\)": lambda: nn.Sequential(nn.ReLU),
    "layer 1 must be a layer of fastopt.nn": lambda: nn.Concat(nn.ReLU(), "relu"),
    "`shortcut` must be a layer": lambda: nn.Residual(nn.ReLU(), shortcut=[nn.ReLU()]),
    "`name` must be a string": lambda: nn.ReLU(name=3),
    "`out_features` must be": lambda: nn.Linear("10"),
    "`bias` must be True or False": lambda: nn.Linear(10, bias="yes"),
}


@pytest.mark.parametrize(("message", "call"), TYPES.items(), ids=TYPES)
def test_arguments_of_the_wrong_type_are_named(message, call):
    with pytest.raises(TypeError, match=message):
        call()


MISFITS = {
    r"layer '0', Conv2d\(4, 3, groups=2\): groups must divide the channels, 3 in and 4 out": [
        nn.Conv2d(4, 3, groups=2)
    ],
    r"layer 'big', Conv2d\(4, 11, padding=\(0, 1\), name='big'\): a window of 11 x 11 does not fit "
    "on an image of 3 channels, 9 x 9, which padding makes 9 x 11": [
        nn.Conv2d(4, 11, padding=(0, 1), name="big")
    ],
    r"layer '0', MaxPool2d\(10\): a window of 10 x 10 does not fit": [nn.MaxPool2d(10)],
    r"layer '1', Linear\(5\): takes vectors, got an image of 3 channels, 9 x 9: put Flatten": [
        nn.ReLU(),
        nn.Linear(5),
    ],
    r"layer '1', Conv2d\(4, 3\): takes images .* got a vector of 243": [
        nn.Flatten(),
        nn.Conv2d(4, 3),
    ],
    r"layer '1', BatchNorm2d\(\): takes images, got a vector of 3": [
        nn.GlobalAvgPool2d(),
        nn.BatchNorm2d(),
    ],
    r"layer '0', BatchNorm1d\(\): takes vectors or sequences, got an image": [nn.BatchNorm1d()],
    r"layer '0.1', Residual: the branches must have one shape, but the layers make an image of 4 "
    "channels, 9 x 9, and the shortcut an image of 3 channels": [
        nn.Sequential(nn.ReLU(), nn.Residual(nn.Conv2d(4, 1)))
    ],
    r"layer '0', Concat: .* branch 0 makes an image of 3 channels, 9 x 9, and branch 1 an image of "
    "4 channels, 7 x 7": [nn.Concat(nn.Identity(), nn.Conv2d(4, 3))],
}


@pytest.mark.parametrize(("message", "layers"), MISFITS.items(), ids=range(len(MISFITS)))
def test_layers_that_do_not_fit_are_named_with_their_shapes(message, layers):
    with pytest.raises(ValueError, match=message):
        output_shape(*layers)
