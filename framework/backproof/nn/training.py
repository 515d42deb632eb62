"""Floor 3: the training loop, for a stack of networks at once. It knows neither Hydra nor MLflow."""

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
from backproof.nn.mlp import MLP, Pass

#: Parameters per block of the update: theta, its gradient and two state arrays of this many float32 numbers
#: fill 1 MiB, the second-level cache of one core.
BLOCK = 1 << 16


@dataclass(frozen=True)
class EarlyStopping:
    """Ends a member's training when what is monitored gets no better; its best parameters are kept."""

    patience: int | None = hyper(None, "epochs without improvement before training ends; null for never", ge=1)
    monitor: str = hyper("val/loss", "what must improve, by its name in the metrics")
    min_delta: float = hyper(0.0, "by how much it must improve to count", ge=0)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class TrainOptions:
    """How long and in what steps a network is trained."""

    epochs: int = hyper(50, "passes over the training part", ge=1)
    batch_size: int | None = hyper(32, "samples per step, the last batch may be short; null for all", ge=1)
    dtype: str = hyper("float64", "of the parameters and of all arithmetic", choices=("float32", "float64"))
    shuffle: bool = hyper(True, "a new order of the samples for every epoch")
    early_stopping: EarlyStopping = dataclasses.field(default_factory=EarlyStopping)

    def __post_init__(self) -> None:
        check_fields(self)


class Pruned(Exception):
    """An observer ends a run early: other points of its sweep did better by then. It is no failure."""

    def __init__(self, epoch: int, metrics: dict[str, float]) -> None:
        super().__init__(f"pruned after epoch {epoch}")
        self.epoch, self.metrics = epoch, metrics
        self.run_id = ""


AnyPlugin = TypeVar("AnyPlugin", bound=Plugin)


def slice_members(plugin: AnyPlugin, rows: slice) -> AnyPlugin:
    """The plugin for some members of a stack: its (R, 1) hyperparameters cut to these rows."""
    arrays: dict[str, Array] = {
        field.name: value[rows]
        for field in dataclasses.fields(plugin)
        if isinstance(value := getattr(plugin, field.name), np.ndarray)
    }
    return dataclasses.replace(plugin, **arrays) if arrays else plugin


class Update:
    """The penalty's gradient and the optimizer's step, walked over blocks of parameters that stay in cache.

    A block is contiguous: whole members where they are small, else a range of one member's parameters.
    theta and grad (R, P) are changed in place, grad is spent by it.
    """

    def __init__(
        self, optimizer: Optimizer, penalty: Penalty, theta: Array, grad: Array, mask: Array, block: int = BLOCK
    ) -> None:
        self.optimizer = optimizer
        self.state = {slot: np.full_like(theta, optimizer.initial(slot)) for slot in optimizer.slots}
        R, P = theta.shape
        members, columns = (max(1, block // P), P) if block >= P else (1, block)
        work = np.empty(members * columns, theta.dtype)
        #: Step t, counted from 1, of each block: called with t and the factor of the learning rate.
        self.blocks: list[Callable[[int, float], None]] = []
        for first in range(0, R, members):
            rows = slice(first, first + members)
            of_rows, penalty_of_rows = slice_members(optimizer, rows), slice_members(penalty, rows)
            for start in range(0, P, columns):
                at = rows, slice(start, start + columns)
                part = theta[at]
                self.blocks.append(
                    _block(
                        of_rows,
                        penalty_of_rows,
                        part,
                        grad[at],
                        tuple(each[at] for each in self.state.values()),
                        mask[at[1]],
                        work[: part.size].reshape(part.shape),
                    )
                )

    def __call__(self, t: int, factor: float) -> None:
        """Step t, counted from 1, at the optimizer's learning rate times `factor`."""
        for update in self.blocks:
            update(t, factor)


def _block(
    optimizer: Optimizer,
    penalty: Penalty,
    theta: Array,
    grad: Array,
    state: tuple[Array, ...],
    mask: Array,
    work: Array,
) -> Callable[[int, float], None]:
    step, penalise, lr = optimizer.step, penalty.gradient, optimizer.lr

    def plain(t: int, factor: float) -> None:
        step(theta, grad, state, t, lr * factor, work)

    def penalised(t: int, factor: float) -> None:
        penalise(theta, mask, grad, work)
        step(theta, grad, state, t, lr * factor, work)

    return plain if penalty.null else penalised


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
    """Train theta (R, P) in place. After each epoch, counted from 1, `after_epoch(epoch, losses)` gets the mean
    data loss (R,) over the epoch's samples, taken as they were trained on; training ends when it returns False.

    When a member's loss is no longer finite, `diverged` is told, once for each member, and training ends when it
    returns False; without it DivergedError is raised.
    """
    grad = np.zeros_like(theta)
    update = Update(optimizer, penalty, theta, grad, net.layout.mask(theta.dtype, biases=penalty.biases))
    total = epochs * batches.steps_per_epoch
    passes: dict[int, Pass] = {}
    factor_at, blocks = schedule.factor, update.blocks
    t = 0
    lost = np.zeros(len(theta), dtype=bool)
    #: Of each step of an epoch, times its samples. They are added up one after the other: a sum, which NumPy takes
    #: in pairs or not as the shape has it, would give a member other bits in a stack than alone.
    losses = np.empty((batches.steps_per_epoch, len(theta)))
    # What overflows becomes inf or NaN in the loss, and ends the run as diverged.
    with np.errstate(all="ignore"):
        for epoch in range(1, epochs + 1):
            done = 0
            for chunk in batches:
                B = chunk.slots[0].z.shape[1]
                if B not in passes:
                    passes[B] = Pass(net, theta, grad, B)
                forward, backward = passes[B].forward, passes[B].backward
                first = t
                for slot in chunk.slots:
                    forward(slot.xT, slot.z_memory)
                    backward(slot.x, slot.y, slot.z)
                    factor = factor_at(t, total)
                    t += 1
                    for step in blocks:
                        step(t, factor)
                at = _At(epoch, first, total, optimizer, schedule)
                own = losses[done : done + len(chunk)]
                done += len(chunk)
                for error in _losses(net, chunk, lost, at, own):
                    if diverged is None:
                        raise error
                    if not diverged(error):
                        return
            if not after_epoch(epoch, np.add.accumulate(losses)[-1] / batches.N):
                return


@dataclass(frozen=True)
class _At:
    """Where in training a chunk is, to say so if it diverged."""

    epoch: int
    first: int
    total: int
    optimizer: Optimizer
    schedule: Schedule

    def lr(self, t: int, member: int) -> float:
        lr = np.ravel(self.optimizer.lr)
        return float(lr[member if len(lr) > 1 else 0]) * self.schedule.factor(t, self.total)


def _losses(net: MLP, chunk: Chunk, lost: Array, at: _At, out: Array) -> list[DivergedError]:
    """Write the losses of a chunk's batches, times their samples, into `out` (C, R), from the logits that its steps
    have left. The members that have diverged in it, in the order of the steps; `lost` (R,) marks those that had
    before, and now these.

    One call for all of them costs a tenth of one call per step.
    """
    np.multiply(net.loss.value(chunk.z_all, chunk.y_all).reshape(out.shape), chunk.slots[0].z.shape[1], out)
    errors: list[DivergedError] = []
    if not np.isfinite(out[:, ~lost]).all():
        for step, member in np.argwhere(~np.isfinite(out)).tolist():
            if not lost[member]:
                lost[member] = True
                t = at.first + step
                value = float(out[step, member])
                errors.append(DivergedError(at.epoch, t + 1, at.lr(t, member), member, value))
    return errors
