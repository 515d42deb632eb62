"""The training loop for a stack of networks, independent of Hydra and MLflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from backproof.contracts import Array, Optimizer, Penalty, Plugin, Schedule, hyper
from backproof.contracts.errors import DivergedError
from backproof.contracts.fields import check_fields
from backproof.data import Batches, Chunk
from backproof.nn.derivation import build_pass
from backproof.nn.early_stopping import EarlyStopping
from backproof.nn.mlp import MLP, Pass

#: Parameters per block of the update: theta, its gradient and two state arrays of this many float32 numbers
#: fill 1 MiB, the second-level cache of a core.
BLOCK = 1 << 16


@dataclass(frozen=True)
class TrainOptions:
    """Options of the training loop."""

    epochs: int = hyper(50, "passes over the training part", ge=1)
    batch_size: int | None = hyper(32, "samples per step, the last batch may be short; null for all", ge=1)
    dtype: str = hyper("float64", "of the parameters and of all arithmetic", choices=("float32", "float64"))
    shuffle: bool = hyper(True, "a new order of the samples for every epoch")
    early_stopping: EarlyStopping = dataclasses.field(default_factory=EarlyStopping)

    def __post_init__(self) -> None:
        check_fields(self)


class Pruned(Exception):
    """Raised by an observer to end a run early because other points of its sweep did better. Not a failure."""

    def __init__(self, epoch: int, metrics: dict[str, float]) -> None:
        super().__init__(f"pruned after epoch {epoch}")
        self.epoch, self.metrics = epoch, metrics
        self.run_id = ""


AnyPlugin = TypeVar("AnyPlugin", bound=Plugin)


def slice_members(plugin: AnyPlugin, rows: slice) -> AnyPlugin:
    """Return the plugin for some members of a stack: its (R, 1) hyperparameters are sliced to these rows."""
    arrays: dict[str, Array] = {
        field.name: value[rows]
        for field in dataclasses.fields(plugin)
        if isinstance(value := getattr(plugin, field.name), np.ndarray)
    }
    return dataclasses.replace(plugin, **arrays) if arrays else plugin


class Update:
    """The penalty's gradient and the optimizer's step, block by block of parameters that stay in cache.

    A block is contiguous: whole members if they are small, else a range of one member's parameters.
    theta and grad (R, P) are changed in place; grad is not valid afterwards.
    """

    def __init__(
        self, optimizer: Optimizer, penalty: Penalty, theta: Array, grad: Array, mask: Array, block: int = BLOCK
    ) -> None:
        self.optimizer = optimizer
        self.state = {slot: np.full_like(theta, optimizer.initial(slot)) for slot in optimizer.slots}
        R, P = theta.shape
        members, columns = (max(1, block // P), P) if block >= P else (1, block)
        work = np.empty(members * columns, theta.dtype)
        #: The update of each block, called with the step t, counted from 1, and the factor of the learning rate.
        self.blocks: list[Callable[[int, float], None]] = []
        for first in range(0, R, members):
            rows = slice(first, first + members)
            row_optimizer, row_penalty = slice_members(optimizer, rows), slice_members(penalty, rows)
            for start in range(0, P, columns):
                block_index = rows, slice(start, start + columns)
                block_theta = theta[block_index]
                self.blocks.append(
                    _block_update(
                        row_optimizer,
                        row_penalty,
                        block_theta,
                        grad[block_index],
                        tuple(array[block_index] for array in self.state.values()),
                        mask[block_index[1]],
                        work[: block_theta.size].reshape(block_theta.shape),
                    )
                )

    def __call__(self, t: int, factor: float) -> None:
        """Take step t, counted from 1, at the optimizer's learning rate times `factor`."""
        for update in self.blocks:
            update(t, factor)


def _block_update(
    optimizer: Optimizer,
    penalty: Penalty,
    theta: Array,
    grad: Array,
    state: tuple[Array, ...],
    mask: Array,
    work: Array,
) -> Callable[[int, float], None]:
    step, penalise, lr = optimizer.step, penalty.gradient, optimizer.lr

    def step_block(t: int, factor: float) -> None:
        step(theta, grad, state, t, lr * factor, work)

    def penalise_and_step_block(t: int, factor: float) -> None:
        penalise(theta, mask, grad, work)
        step(theta, grad, state, t, lr * factor, work)

    return step_block if penalty.null else penalise_and_step_block


def train(
    net: MLP,
    theta: Array,
    batches: Batches,
    *,
    epochs: int,
    optimizer: Optimizer,
    schedule: Schedule,
    penalty: Penalty,
    after_epoch: Callable[[int, Array], bool],
    diverged: Callable[[DivergedError], bool] | None = None,
) -> None:
    """Train theta (R, P) in place.

    After each epoch, counted from 1, `after_epoch(epoch, losses)` gets the mean data loss (R,) over the epoch's
    samples, each measured in its step before the update; training ends when it returns False.

    When a member's loss is no longer finite, `diverged` is called, once per member, and training ends when it
    returns False; without it DivergedError is raised.
    """
    grad = np.zeros_like(theta)
    update = Update(optimizer, penalty, theta, grad, net.layout.mask(theta.dtype, biases=penalty.biases))
    total = epochs * batches.steps_per_epoch
    passes: dict[int, Pass] = {}
    factor_at, blocks = schedule.factor, update.blocks
    t = 0
    is_lost = np.zeros(len(theta), dtype=bool)
    #: The loss of each step times its samples. Sequential sum: np.sum's pairwise order depends on the shape, and
    #: would break bit-equality between a member of a stack and the network alone.
    losses = np.empty((batches.steps_per_epoch, len(theta)))
    # An overflow becomes inf or NaN in the loss, and ends the run as diverged.
    with np.errstate(all="ignore"):
        for epoch in range(1, epochs + 1):
            steps_done = 0
            for chunk in batches:
                B = chunk.slots[0].z.shape[1]
                if B not in passes:
                    passes[B] = build_pass(net, theta, grad, B)
                forward, backward = passes[B].forward, passes[B].backward
                first_step = t
                for slot in chunk.slots:
                    forward(slot.xT, slot.z_memory)
                    backward(slot.x, slot.y, slot.z)
                    factor = factor_at(t, total)
                    t += 1
                    for step in blocks:
                        step(t, factor)
                position = _Position(epoch, first_step, total, optimizer, schedule)
                chunk_losses = losses[steps_done : steps_done + len(chunk)]
                steps_done += len(chunk)
                for error in _measure(net, chunk, is_lost, position, chunk_losses):
                    if diverged is None:
                        raise error
                    if not diverged(error):
                        return
            if not after_epoch(epoch, np.add.accumulate(losses)[-1] / batches.N):
                return


@dataclass(frozen=True)
class _Position:
    """The position of a chunk in training, for the message of a divergence."""

    epoch: int
    first_step: int
    total_steps: int
    optimizer: Optimizer
    schedule: Schedule

    def lr(self, t: int, member: int) -> float:
        lr = np.ravel(self.optimizer.lr)
        return float(lr[member if len(lr) > 1 else 0]) * self.schedule.factor(t, self.total_steps)


def _measure(net: MLP, chunk: Chunk, is_lost: Array, position: _Position, out: Array) -> list[DivergedError]:
    """Write the losses of a chunk's batches, times their samples, into `out` (C, R), from the logits of its steps.

    Return an error for each member that diverged in this chunk, in the order of the steps, and mark it in
    `is_lost` (R,). One call for the whole chunk costs a tenth of one call per step.
    """
    np.multiply(net.loss.value(chunk.z_all, chunk.y_all).reshape(out.shape), chunk.slots[0].z.shape[1], out)
    errors: list[DivergedError] = []
    if not np.isfinite(out[:, ~is_lost]).all():
        for step, member in np.argwhere(~np.isfinite(out)).tolist():
            if not is_lost[member]:
                is_lost[member] = True
                t = position.first_step + step
                value = float(out[step, member])
                errors.append(DivergedError(position.epoch, t + 1, position.lr(t, member), member, value))
    return errors
