"""What is joined and left out before a graph is carried out."""

from fastopt import nn
from fastopt.nn.passes import simplified


def operations(*layers, training=True):
    model = nn.Model(*layers, input_shape=(3, 9, 9), loss="mse")
    return [
        node.op + "+relu" * bool(node.attributes.get("relu"))
        for node in simplified(model._graph, training)
    ]


def test_relu_is_done_by_the_normalization_before_it():
    layers = nn.Conv2d(4, 3), nn.BatchNorm2d(), nn.ReLU()
    assert operations(*layers) == ["conv2d", "batchnorm+relu"]
    assert operations(*layers, training=False) == ["conv2d", "batchnorm_inference+relu"]


def test_relu_is_done_by_the_sum_before_it():
    assert operations(nn.Residual(nn.Tanh()), nn.ReLU()) == ["tanh", "add_relu"]


def test_relu_stands_alone_where_something_else_reads_what_it_reads():
    both = nn.Concat(nn.Identity(), nn.ReLU())
    assert operations(nn.BatchNorm2d(), both) == ["batchnorm", "relu", "concat"]
    assert operations(nn.Conv2d(4, 3), nn.ReLU()) == ["conv2d", "relu"]


def test_dropout_is_for_training():
    layers = nn.Flatten(), nn.Dropout(), nn.Linear(3), nn.Dropout()
    assert operations(*layers) == ["flatten", "dropout", "linear", "dropout"]
    assert operations(*layers, training=False) == ["flatten", "linear"]
    assert operations(nn.Tanh(), nn.Dropout(0.0)) == ["tanh"]
