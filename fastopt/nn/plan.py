"""What is done for a batch of N, in which order, and where every array is.

A plan is made of a graph once for each N: the operations of the forward pass, the loss, and the
backward pass, as kernels bound to their arrays. All that is not parameters, gradients and buffers
lies in one arena, in which a place is used again as soon as nothing needs what was there. Owns
order, places, and the sums of gradients where a value has several readers. Knows nothing of what
operations compute.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastopt.kernels.cpu import arithmetic
from fastopt.kernels.cpu.threads import get_num_threads
from fastopt.nn.graph import Graph, Shape, Value
from fastopt.nn.losses import Loss
from fastopt.nn.memory import Block, empty_arena, place, view
from fastopt.nn.operations import Call, Operation, Site, bind_loss, operation
from fastopt.nn.passes import simplified
from fastopt.nn.state import State

__all__ = ["Mode", "Programs"]

Array = NDArray[Any]
Mode = Literal["train", "value", "predict"]
_Key = tuple[Mode, int, int]

# As many plans are kept: batches of a few sizes alternate, and with a size that is
# always new there must not be always more.
_KEPT = 16


@dataclass
class Program:
    """A plan at work: fill `x` and `target`, run, read `output`."""

    x: Array
    target: Array | None
    output: Array
    forward: list[Call]
    loss: Callable[[], float] | None
    backward: list[Call]

    def run(self) -> float:
        """All of it; the loss, or 0 if there is none."""
        for call in self.forward:
            call()
        value = 0.0 if self.loss is None else self.loss()
        for call in self.backward:
            call()
        return value


@dataclass
class _Step:
    """An operation in one of the passes."""

    op: Operation
    saved: list[Block]
    workspace: Block | None
    grad: Block | None = None
    grad_inputs: list[Block | None] = field(default_factory=list)


@dataclass
class _Sum:
    """Two gradients of one value, added: in the place of the first if `out` is it."""

    first: Block
    second: Block
    out: Block
    value: Value


class _Plan:
    """Order and places; `bind` makes a program of it, in an arena of `size` bytes or more."""

    def __init__(self, graph: Graph, loss: Loss, dtype: np.dtype[Any], mode: Mode, N: int) -> None:
        self.graph, self.loss, self.dtype, self.mode, self.N = graph, loss, dtype, mode, N
        self.nodes = simplified(graph, training=mode == "train")
        self.ops = [operation(node, N, dtype) for node in self.nodes]
        self.output = self.nodes[-1].output if self.nodes else graph.input
        self.blocks: list[Block] = []
        self.now = 0
        self.places = {graph.input.index: self._value_block(graph.input)}
        self.forward: list[_Step] = []
        self.backward: list[_Step | _Sum] = []
        self.target: Block | None = None
        self.loss_grad: Block | None = None

        self._plan_forward()
        if mode != "predict":
            self._plan_loss()
        if mode == "train":
            self._plan_backward()
        self.size = place(self.blocks)

    # --- blocks

    def _block(self, shape: Shape, dtype: Any) -> Block:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        block = Block(size, self.now, self.now)
        self.blocks.append(block)
        return block

    def _value_block(self, value: Value) -> Block:
        return self._block((self.N, *value.shape), self.dtype)

    def _workspace(self, op: Operation) -> Block | None:
        return self._block((op.workspace,), self.dtype) if op.workspace else None

    # --- forward

    def _plan_forward(self) -> None:
        last_read = {each.index: i for i, node in enumerate(self.nodes) for each in node.inputs}
        last_read[self.output.index] = len(self.nodes)
        kept = self._read_by_backward()
        tenants: dict[int, list[int]] = defaultdict(list)  # the values in each block
        tenants[id(self.places[0])].append(0)
        for i, op in enumerate(self.ops):
            self.now += 1
            node = op.node
            inputs = [self.places[each.index] for each in node.inputs]
            for block in inputs:
                block.needed_at(self.now)
            reused = [
                inputs[k]
                for k in op.overwrites
                if all(last_read[v] <= i and v not in kept for v in tenants[id(inputs[k])])
            ]
            if op.is_view:
                reused = [inputs[0]]
            block = reused[0] if reused else self._value_block(node.output)
            self.places[node.output.index] = block
            tenants[id(block)].append(node.output.index)
            saved = [self._block(*each) for each in op.saved]
            self.forward.append(_Step(op, saved, self._workspace(op)))

    def _read_by_backward(self) -> set[int]:
        """The values that must outlive the forward pass; and which values have a gradient."""
        self.has_grad = {self.graph.input.index: False}
        kept: set[int] = set()
        for op in self.ops:
            node = op.node
            differentiable = bool(node.parameters) or any(
                self.has_grad[each.index] for each in node.inputs
            )
            self.has_grad[node.output.index] = differentiable
            if differentiable and self.mode == "train":
                if op.reads_inputs:
                    kept.update(each.index for each in node.inputs)
                if op.reads_output:
                    kept.add(node.output.index)
        return kept

    # --- loss and backward

    def _plan_loss(self) -> None:
        shape, dtype = self.loss._target(self.N, self.output.shape, self.dtype)
        self.target = self._block(shape, dtype)
        self.target.first = 0
        self.now += 1
        self.target.needed_at(self.now)
        self.places[self.output.index].needed_at(self.now)
        self.loss_grad = self._value_block(self.output)
        self.loss_grad.needed_at(self.now)

    def _plan_backward(self) -> None:
        grads: dict[int, list[Block]] = defaultdict(list)  # of each value, to be added
        assert self.loss_grad is not None
        grads[self.output.index].append(self.loss_grad)
        for step in reversed(self.forward):
            op, node = step.op, step.op.node
            if not self.has_grad[node.output.index]:
                continue
            grad = self._summed(node.output, grads)
            del grads[node.output.index]
            wanted = [each.index for each in node.inputs if self.has_grad[each.index]]
            if op.passes_grad:
                for index in wanted:
                    grads[index].append(grad)
                continue
            self.now += 1
            in_use = [grad, *step.saved]
            if op.reads_inputs:
                in_use += [self.places[each.index] for each in node.inputs]
            if op.reads_output:
                in_use.append(self.places[node.output.index])
            for block in in_use:
                block.needed_at(self.now)
            overwrite = op.overwrites_grad and not _is_awaited(grad, grads)
            if op.shares_grad:
                shared = grad if overwrite else self._value_block(node.inputs[0])
                targets: list[Block | None] = [shared]
                for index in wanted:
                    grads[index].append(shared)
            else:
                targets = []
                for each in node.inputs:
                    needed = self.has_grad[each.index]
                    if not needed and not op.fills_grad_inputs:
                        targets.append(None)
                        continue
                    block = grad if overwrite else self._value_block(each)
                    targets.append(block)
                    if needed:
                        grads[each.index].append(block)
            self.backward.append(_Step(op, step.saved, self._workspace(op), grad, targets))

    def _summed(self, value: Value, grads: dict[int, list[Block]]) -> Block:
        """One block with the gradient of a value, by steps that add if there are several."""
        parts = grads[value.index]
        while len(parts) > 1:
            self.now += 1
            first, second = parts.pop(), parts.pop()
            if _is_awaited(first, grads) or first is second:
                first, second = second, first
            if _is_awaited(first, grads) or first is second:
                out = self._value_block(value)
            else:
                out = first
            for block in (first, second, out):
                block.needed_at(self.now)
            self.backward.append(_Sum(first, second, out, value))
            parts.append(out)
        return parts[0]

    # --- arrays

    def bind(self, arena: NDArray[np.uint8], state: State) -> Program:
        """The kernels, with arrays in `arena` and those of `state`."""
        N, dtype = self.N, self.dtype

        nothing = np.empty(0, dtype)
        arrays: dict[tuple[int, Shape], Array] = {}

        def array_of(block: Block, value: Value) -> Array:
            # The same object for what is in one place, by which kernels know what is overwritten.
            key = id(block), value.shape
            if key not in arrays:
                arrays[key] = view(arena, block, (N, *value.shape), dtype)
            return arrays[key]

        def site_of(step: _Step) -> Site:
            op, node, scratch = step.op, step.op.node, step.workspace
            values = (*node.inputs, node.output)
            *inputs, output = [array_of(self.places[each.index], each) for each in values]
            grads = zip(step.grad_inputs, node.inputs, strict=False)
            return Site(
                inputs,
                output,
                [state.parameters[each.name] for each in node.parameters],
                [state.buffers[each.name] for each in node.buffers],
                state.moments.get(node.layer),
                [
                    view(arena, block, *each)
                    for block, each in zip(step.saved, op.saved, strict=True)
                ],
                nothing if scratch is None else view(arena, scratch, (op.workspace,), dtype),
                None if step.grad is None else array_of(step.grad, node.output),
                [None if block is None else array_of(block, each) for block, each in grads],
                [state.grads[each.name] for each in node.parameters],
            )

        forward: list[Call] = []
        for step in self.forward:
            if not step.op.is_view:
                forward += step.op.forward(site_of(step))
        backward: list[Call] = []
        for each in self.backward:
            if isinstance(each, _Step):
                backward += each.op.backward(site_of(each))
                continue
            first, second, out = (
                array_of(block, each.value) for block in (each.first, each.second, each.out)
            )
            if out is first:
                backward.append(partial(arithmetic.accumulate, second, first))
            else:
                backward.append(partial(arithmetic.add, first, second, out))

        target: Array | None = None
        loss: Callable[[], float] | None = None
        x = array_of(self.places[self.graph.input.index], self.graph.input)
        output = array_of(self.places[self.output.index], self.output)
        if self.target is not None and self.loss_grad is not None:
            target = view(arena, self.target, *self.loss._target(N, self.output.shape, dtype))
            loss = bind_loss(self.loss, output, target, array_of(self.loss_grad, self.output))
        return Program(x, target, output, forward, loss, backward)


def _is_awaited(block: Block, grads: dict[int, list[Block]]) -> bool:
    """Whether it is still to be read, as the gradient of another value or as a part of it."""
    return any(block is each for parts in grads.values() for each in parts)


class Programs:
    """The programs of a network, made when they are first asked for, in one arena.

    Parameters
    ----------
    graph : Graph
    loss : Loss
    dtype : dtype
    """

    def __init__(self, graph: Graph, loss: Loss, dtype: np.dtype[Any], state: State) -> None:
        self._graph, self._loss, self._dtype, self._state = graph, loss, dtype, state
        self._plans: OrderedDict[_Key, _Plan] = OrderedDict()
        self._programs: dict[_Key, Program] = {}
        self._arena = empty_arena(0)

    def get(self, mode: Mode, N: int) -> Program:
        """The program for batches of N: what it leaves is there until another one runs."""
        key = mode, N, get_num_threads()  # which workspaces are made for
        program = self._programs.get(key)
        if program is None:
            program = self._bind(key)
        self._plans.move_to_end(key)
        return program

    def _bind(self, key: _Key) -> Program:
        plan = self._plans.get(key)
        if plan is None:
            plan = _Plan(self._graph, self._loss, self._dtype, *key[:2])
            self._plans[key] = plan
            if len(self._plans) > _KEPT:
                oldest = next(iter(self._plans))
                self._programs.pop(oldest, None)  # first, for none may be without its plan
                del self._plans[oldest]
        if plan.size > self._arena.size:
            # The old one goes first, and with it all that is bound to it.
            self._programs.clear()
            self._arena = empty_arena(0)
            self._arena = empty_arena(plan.size)
        self._programs[key] = program = plan.bind(self._arena, self._state)
        return program
