"""What is done for a batch of N, in which order, and where every array is.

A plan is made of a graph once for each N: the operations of the forward pass, the loss, and the
backward pass, as kernels bound to their arrays. All that is not parameters, gradients and buffers
lies in one arena, in which a place is used again as soon as nothing needs what was there. Owns
order, places, and the sums of gradients where a value has several readers. Knows nothing of what
operations compute.

On the CPU what is given is copied into the arena. On a GPU kernels take the caller's arrays
themselves, and what they launch is recorded, to be launched again with arrays at other addresses.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from fastopt.device import driver
from fastopt.device.arrays import DeviceArray
from fastopt.device.recording import Recording
from fastopt.device.streams import on_stream
from fastopt.nn.graph import Graph, Shape, Value
from fastopt.nn.losses import Loss
from fastopt.nn.memory import Block, place
from fastopt.nn.operations import Call, Operation, Site, bind_loss, operation
from fastopt.nn.passes import simplified
from fastopt.nn.places import GPU, Place
from fastopt.nn.state import State

__all__ = ["Mode", "Program", "Programs", "Recorded"]

Array = Any  # of one place
Mode = Literal["train", "value", "predict"]
_Key = tuple[Mode, int, Hashable]

# As many plans are kept: batches of a few sizes alternate, and with a size that is
# always new there must not be always more.
_KEPT = 16


@dataclass
class Program:
    """A plan at work. `result` is the gradient, or in prediction the output."""

    place: Place
    theta: Array
    x: Array
    target: Array | None
    output: Array
    result: Array
    forward: list[Call]
    loss: Callable[[], Any] | None
    backward: list[Call]
    moves: list[Call]

    def run(self, theta: Array, x: Array, y: Array | None = None, out: Array | None = None) -> Any:
        """Evaluate: the loss, or 0 if there is none, and in `out` the result, if it is asked for.

        What is bound to the program itself is not copied.
        """
        copy = self.place.kernels.copies.copy
        for given, own in ((theta, self.theta), (x, self.x), (y, self.target)):
            if own is not None and own is not given:
                copy(given, own)
        for call in self.forward:
            call()
        value = 0.0 if self.loss is None else self.loss()
        for call in self.backward:
            call()
        if out is not None and out is not self.result:
            copy(self.result, out)
        return value

    def move(self) -> None:
        """Move the buffers as the last run in training has it."""
        for call in self.moves:
            call()


class Recorded:
    """A program of a GPU, as launches: with them nothing is worked out and nothing allocated.

    Parameters
    ----------
    place : GPU
    """

    def __init__(self, place: GPU) -> None:
        self.place = place
        self._run, self._move = Recording(), Recording()
        self._has_value = False

    def stand_in(self, array: DeviceArray) -> DeviceArray:
        """What the program is to be bound to in place of an array that comes with each run."""
        address = self._run.stand_in(array.address)
        return DeviceArray(array.owner, address, array.shape, array.dtype)

    def record(self, program: Program, arrays: Sequence[DeviceArray | None]) -> None:
        """Put down what a program launches, for all arrays as `run` takes them."""
        with self._run.recorded():
            value = program.run(*arrays)
        if isinstance(value, DeviceArray):
            self._has_value = True
            self._run.replace(value.address)
        with self._move.recorded():
            program.move()

    def run(self, theta: Array, x: Array, y: Array | None = None, out: Array | None = None) -> Any:
        """As that of the program; the loss is a new array of no dimensions."""
        value = theta.empty((), np.float64) if self._has_value else None
        arrays = theta, x, y, out, value
        self._launch(self._run, [each.address for each in arrays if each is not None])
        return value

    def move(self) -> None:
        """As that of the program, on the stream of the last run."""
        with on_stream(self.place.stream):
            self._launch(self._move, [])

    @staticmethod
    def _launch(recording: Recording, addresses: list[int]) -> None:
        launch = driver.current().launch
        for each in recording.launches(addresses):
            launch(*each)


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
    """Order and places; `bind` makes a program of it, in an arena of `size` bytes or more.

    Parameters
    ----------
    graph : Graph
    loss : Loss
    dtype : dtype
    at : Place
    mode : Mode
    N : int
    binds_target : bool
        Whether targets are not copied, where `at` binds what is given.
    """

    def __init__(
        self,
        graph: Graph,
        loss: Loss,
        dtype: np.dtype[Any],
        at: Place,
        mode: Mode,
        N: int,
        binds_target: bool = False,
    ) -> None:
        self.graph, self.loss, self.dtype, self.mode, self.N = graph, loss, dtype, mode, N
        self.at, self.binds_target = at, binds_target
        self.nodes = simplified(graph, training=mode == "train")
        self.ops = [operation(node, N, dtype, at.kernels) for node in self.nodes]
        self.output = self.nodes[-1].output if self.nodes else graph.input
        self.blocks: list[Block] = []
        self.now = 0
        self.places = {graph.input.index: self._value_block(graph.input, planned=not at.binds)}
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

    def _block(self, shape: Shape, dtype: Any, planned: bool = True) -> Block:
        """Memory that there will be a place for, unless it is not to be in the arena."""
        count = math.prod(shape)
        if count > self.at.most:
            raise ValueError(
                f"`x` must have fewer samples than {self.N} on a GPU, where no array in the "
                f"network may have more than {self.at.most} elements, got one of shape {shape}"
            )
        block = Block(count * np.dtype(dtype).itemsize, self.now, self.now)
        if planned:
            self.blocks.append(block)
        return block

    def _value_block(self, value: Value, planned: bool = True) -> Block:
        return self._block((self.N, *value.shape), self.dtype, planned)

    def _workspace(self, op: Operation) -> Block | None:
        return self._block((op.workspace,), self.dtype) if op.workspace else None

    # --- forward

    def _plan_forward(self) -> None:
        last_read = {each.index: i for i, node in enumerate(self.nodes) for each in node.inputs}
        last_read[self.output.index] = len(self.nodes)
        kept = self._read_by_backward()
        if self.at.binds:
            kept.add(self.graph.input.index)  # it is the caller's
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
        self.target = self._block(shape, dtype, planned=not self.binds_target)
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

    def bind(
        self, arena: Array, state: State, given: Sequence[Array | None] = (None,) * 4
    ) -> Program:
        """The kernels, with arrays in `arena` and those of `state`.

        But where one is given for the parameters, samples, targets or the gradient, with that.
        """
        N, dtype, view, kernels = self.N, self.dtype, self.at.view, self.at.kernels
        theta, samples, target, grad = given
        theta = state.theta if theta is None else theta
        grad = state.grad if grad is None and self.mode == "train" else grad
        parameters = state.parts(theta)
        slopes = {} if grad is None else state.parts(grad)

        nothing = self.at.empty((0,), dtype)
        arrays: dict[tuple[int, Shape], Array] = {}
        entry = self.places[self.graph.input.index]
        if samples is not None:
            arrays[id(entry), self.graph.input.shape] = samples

        def array_of(block: Block, value: Value) -> Array:
            # The same object for what is in one place, by which kernels know what is overwritten.
            key = id(block), value.shape
            if key not in arrays:
                shape = N, *value.shape
                if samples is not None and block is entry:
                    arrays[key] = samples.reshape(shape)
                else:
                    arrays[key] = view(arena, block, shape, dtype)
            return arrays[key]

        def site_of(step: _Step) -> Site:
            op, node, scratch = step.op, step.op.node, step.workspace
            values = (*node.inputs, node.output)
            *inputs, output = [array_of(self.places[each.index], each) for each in values]
            grads = zip(step.grad_inputs, node.inputs, strict=False)
            return Site(
                inputs,
                output,
                [parameters[each.name] for each in node.parameters],
                [state.buffers[each.name] for each in node.buffers],
                state.moments.get(node.layer),
                [
                    view(arena, block, *each)
                    for block, each in zip(step.saved, op.saved, strict=True)
                ],
                nothing if scratch is None else view(arena, scratch, (op.workspace,), dtype),
                None if step.grad is None else array_of(step.grad, node.output),
                [None if block is None else array_of(block, each) for block, each in grads],
                [slopes[each.name] for each in node.parameters if slopes],
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
                backward.append(partial(kernels.arithmetic.accumulate, second, first))
            else:
                backward.append(partial(kernels.arithmetic.add, first, second, out))

        loss: Callable[[], Any] | None = None
        x = array_of(entry, self.graph.input)
        output = array_of(self.places[self.output.index], self.output)
        if self.target is not None and self.loss_grad is not None:
            if target is None:
                target = view(arena, self.target, *self.loss._target(N, self.output.shape, dtype))
            loss_grad = array_of(self.loss_grad, self.output)
            loss = bind_loss(self.loss, output, target, loss_grad, self.at)
        training = self.mode == "train"
        result = grad if training else output
        moves = state.moves(N) if training else []
        return Program(self.at, theta, x, target, output, result, forward, loss, backward, moves)


def _is_awaited(block: Block, grads: dict[int, list[Block]]) -> bool:
    """Whether it is still to be read, as the gradient of another value or as a part of it."""
    return any(block is each for parts in grads.values() for each in parts)


class Programs:
    """The programs of a network at one place, made when they are first asked for, in one arena.

    Parameters
    ----------
    graph : Graph
    loss : Loss
    dtype : dtype
    state : State
        Of that place.
    """

    def __init__(self, graph: Graph, loss: Loss, dtype: np.dtype[Any], state: State) -> None:
        self._graph, self._loss, self._dtype = graph, loss, dtype
        self.state, self.place = state, state.place
        self._plans: OrderedDict[_Key, _Plan] = OrderedDict()
        self._programs: dict[_Key, Program | Recorded] = {}
        self._arena = self.place.arena(0)

    def get(self, mode: Mode, N: int, arrays: Sequence[Array | None] = ()) -> Program | Recorded:
        """The program for batches of N: what it leaves is there until another one runs.

        Parameters
        ----------
        mode : Mode
        N : int
        arrays : sequence of array or None
            What the program is to be run with, which matters on a GPU.
        """
        key = mode, N, self.place.begin(arrays)
        program = self._programs.get(key)
        if program is None:
            program = self._bind(key, arrays)
        self._plans.move_to_end(key)
        return program

    def _bind(self, key: _Key, arrays: Sequence[Array | None]) -> Program | Recorded:
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(*key[:2], arrays)
            if len(self._plans) > _KEPT:
                self.place.leave()
                oldest = next(iter(self._plans))
                self._programs.pop(oldest, None)  # first, for none may be without its plan
                del self._plans[oldest]
        if plan.size > self._arena.size:
            # The old one goes first, and with it all that is bound to it.
            self.place.leave()
            self._programs.clear()
            self._arena = self.place.arena(0)
            self._arena = self.place.arena(plan.size)
        program = self._programs[key] = self._program(plan, arrays)
        return program

    def _plan(self, mode: Mode, N: int, arrays: Sequence[Array | None]) -> _Plan:
        binds_target = False
        if self.place.binds and mode != "predict":
            _, wanted = self._loss._target(N, self._graph.output.shape, self._dtype)
            came = np.dtype(arrays[2].dtype)  # type: ignore[union-attr]
            # Losses read labels of either size.
            binds_target = came == wanted or (wanted == np.int64 and came == np.int32)
        return _Plan(self._graph, self._loss, self._dtype, self.place, mode, N, binds_target)

    def _program(self, plan: _Plan, arrays: Sequence[Array | None]) -> Program | Recorded:
        if not isinstance(self.place, GPU):
            return plan.bind(self._arena, self.state)
        recorded = Recorded(self.place)
        stand_ins = [None if each is None else recorded.stand_in(each) for each in arrays]
        theta, x, y, out = stand_ins
        given = (
            self._bindable(theta),
            x,
            y if plan.binds_target else None,
            self._bindable(out) if plan.mode == "train" else None,
        )
        recorded.record(plan.bind(self._arena, self.state, given), stand_ins)
        return recorded

    def _bindable(self, vector: Array) -> Array | None:
        """A vector, if it is of the model's dtype; otherwise it is converted."""
        return vector if vector.dtype == self._dtype else None
