"""What becomes of a graph before it is carried out: operations joined, or left out.

The results are the same numbers. Knows nothing of arrays and batches.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from fastopt.nn.graph import Graph, Node, Value

__all__ = ["simplified"]


def simplified(graph: Graph, training: bool) -> list[Node]:
    """The operations for training, or for inference, in order.

    A ReLU behind a batch normalization or a sum, whose result nothing else reads, is done by it.
    In inference, dropout is nothing, and batch normalization is another operation.

    Parameters
    ----------
    graph : Graph
    training : bool

    Returns
    -------
    list of Node
        The last one's output is the network's; none if this is its input.
    """
    return _join_relus(_for_mode(graph, training))


def _for_mode(graph: Graph, training: bool) -> list[Node]:
    nodes = []
    same: dict[int, Value] = {}  # what is left out -> what stands for it
    for node in graph.nodes:
        inputs = tuple(same.get(each.index, each) for each in node.inputs)
        if node.op == "dropout" and (not training or node.attributes["p"] == 0.0):
            same[node.output.index] = inputs[0]
            continue
        op = "batchnorm_inference" if node.op == "batchnorm" and not training else node.op
        nodes.append(replace(node, op=op, inputs=inputs))
    return nodes


def _join_relus(nodes: list[Node]) -> list[Node]:
    readers = Counter(each.index for node in nodes for each in node.inputs)
    makers = {node.output.index: i for i, node in enumerate(nodes)}
    joined: list[Node | None] = [*nodes]
    for i, node in enumerate(nodes):
        if node.op != "relu" or readers[node.inputs[0].index] != 1:
            continue
        before = makers.get(node.inputs[0].index)
        if before is None:
            continue
        made = nodes[before]
        if made.op in ("batchnorm", "batchnorm_inference"):
            attributes = {**made.attributes, "relu": True}
            joined[before] = replace(made, output=node.output, attributes=attributes)
            joined[i] = None
        elif made.op == "add":
            joined[before] = replace(made, op="add_relu", output=node.output)
            joined[i] = None
    return [node for node in joined if node is not None]
