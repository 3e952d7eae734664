import tracemalloc

import numpy as np
import pytest

from fastopt.nn import models

# Trainable parameters as published: LeNet-5 by its paper's table, densenet_small by table 2 of
# DenseNet's (0.8 million), resnet_small by the sum of its layers, the rest by torchvision, and
# Inception v4 and Inception-ResNet v2 by timm; without auxiliary heads.
PUBLISHED = {
    "lenet5": 61_706,
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_624_904,
    "inception_v3": 23_834_568,
    "inception_v4": 42_679_816,
    "inception_resnet_v2": 55_843_464,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50": 25_028_904,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet_small": 769_162,
}
FAMILIES = [name for name in models.__all__ if name not in ("vgg", "resnet", "densenet")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_network_of_full_width_has_as_many_parameters_as_published(name):
    assert getattr(models, name)().n == PUBLISHED[name]


def test_batch_normalization_adds_two_parameters_a_channel_to_vgg():
    channels = 64 * (2 * 1 + 2 * 2 + 3 * 4 + 3 * 8 + 3 * 8)
    assert models.vgg16(batchnorm=True).n == models.vgg16().n + 2 * channels


def test_small_resnet_has_as_many_parameters_as_its_layers():
    convolutions = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    projections = 16 * 32 + 32 * 64
    normalizations = 2 * (7 * 16 + 7 * 32 + 7 * 64)
    assert models.resnet_small(20).n == convolutions + projections + normalizations + 650


@pytest.mark.parametrize("name", FAMILIES)
def test_network_has_as_many_outputs_as_classes(name):
    assert getattr(models, name)(classes=3).output_shape == (3,)


@pytest.mark.parametrize("name", FAMILIES)
def test_options_reach_the_model(name):
    model = getattr(models, name)(loss="multilabel", dtype="float64", name="mine")
    assert type(model.loss).__name__ == "MultiLabel"
    assert model.dtype == np.float64
    assert model.summary().startswith("mine\n")


def test_parameters_are_counted_without_being_made():
    models.vgg16()  # what is imported or cached at the first use
    tracemalloc.start()
    models.vgg16()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_depth_that_no_network_has_is_refused():
    with pytest.raises(ValueError, match="`depth` must be one of 11, 13, 16, 19, got 12"):
        models.vgg(12)
    with pytest.raises(ValueError, match="`depth` must be one of 18, 34, 50, 101, 152, got 20"):
        models.resnet(20)
    with pytest.raises(ValueError, match=r"`depth` must be 6 n \+ 2 for a positive .*, got 18"):
        models.resnet_small(18)


def test_groups_without_bottlenecks_are_refused():
    with pytest.raises(ValueError, match="`depth` of at least 50, got 18"):
        models.resnet(18, cardinality=32)


def test_image_that_is_too_small_is_refused_with_the_name_of_the_layer():
    with pytest.raises(ValueError, match=r"layer '12'.* does not fit"):
        models.alexnet(input_shape=(3, 32, 32))
