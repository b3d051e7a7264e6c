"""Several devices that share every batch of a training: the one module that knows how each backend does that.

JAX takes `keras.distribution.DataParallel`: one program over a batch that lies on all devices, so that only the place
of the work changes. Keras has no distribution for TensorFlow, which takes its own `MirroredStrategy`: every device
runs the step on its share and the gradients are summed, so batch normalisation sees a share of the batch, and dropout
drops the same of every share.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from bcd.errors import BcdError
from bcd.networks.backend import keras

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor
    from keras import Model
    from numpy.typing import NDArray
    from tensorflow.distribute import ReplicaContext, Strategy
    from tensorflow.distribute.experimental import ValueContext

    Array = NDArray[Any]


def open_devices(count: int) -> Devices:
    """Returns the first devices of this machine, GPUs where it has any.

    Raises:
        BcdError: There are fewer, or the backend cannot share a batch.
    """
    if count == 1:
        return Devices()
    there, backend = keras.distribution.list_devices(), keras.backend.backend()
    if count > len(there):
        raise BcdError(
            f"{count} devices should share the training, and {backend} has {len(there)}: {', '.join(there)}.",
            f"Set `devices` to at most {len(there)} under [training].",
        )
    kinds: dict[str, Callable[[list[str]], Devices]] = {"jax": _ShardedDevices, "tensorflow": _MirroredDevices}
    if backend not in kinds:
        raise BcdError(f"On {backend} a training has one device.", "Set KERAS_BACKEND to jax or tensorflow.")
    return kinds[backend](there[:count])


class Devices:
    """The one device that the backend takes by itself.

    Attributes:
        count: How many devices share a batch; its patches must be a multiple of it.
    """

    count = 1

    def scope(self) -> AbstractContextManager[object]:
        """Networks, layers and optimisers made in the block can be trained on the devices."""
        return nullcontext()

    def train(self, learner: Model, patches: Array, labels: Array, weights: Array | None) -> float:
        """Takes one step with a compiled keras.Model.

        Args:
            learner: Made and compiled in `scope`.
            patches: What goes into it, (n, ...).
            labels: What should come out, (n, 1).
            weights: What each patch weighs, (n,); None: all the same.

        Returns:
            The mean loss of the batch before the step.
        """
        return float(learner.train_on_batch(patches, labels, sample_weight=weights))


class _ShardedDevices(Devices):
    """JAX devices, on which a batch lies in shares, as one array."""

    def __init__(self, names: list[str]) -> None:
        self.count = len(names)
        self._distribution = keras.distribution.DataParallel(devices=names)

    def scope(self) -> AbstractContextManager[object]:
        scope: AbstractContextManager[object] = self._distribution.scope()
        return scope

    def train(self, learner: Model, patches: Array, labels: Array, weights: Array | None) -> float:
        with self.scope():
            return super().train(learner, patches, labels, weights)


class _MirroredDevices(Devices):
    """TensorFlow devices, each with a copy of the learner."""

    def __init__(self, names: list[str]) -> None:
        self.count = len(names)
        self._strategy = _mirror_over_devices(*names)

    def scope(self) -> AbstractContextManager[object]:
        scope: AbstractContextManager[object] = self._strategy.scope()
        return scope

    def train(self, learner: Model, patches: Array, labels: Array, weights: Array | None) -> float:
        # `train_on_batch` would give the whole batch to every device.
        learner.make_train_function()
        learner.reset_metrics()
        batch = tuple(None if part is None else self._deal(part) for part in (patches, labels, weights))
        return float(learner.train_function(iter([batch]))["loss"])

    def _deal(self, values: Array) -> Tensor:
        share = len(values) // self.count

        def take(context: ValueContext) -> Tensor:
            start = context.replica_id_in_sync_group * share
            return keras.ops.convert_to_tensor(values[start : start + share])

        return self._strategy.experimental_distribute_values_from_function(take)


@cache
def _mirror_over_devices(*names: str) -> Strategy:
    """Returns the strategy of these devices: one a process, as two would number their sums alike and mix them up."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([name.upper() for name in names])


def draw_device_share(draw: Callable[[tuple[int, ...]], Tensor], shape: tuple[int, ...], axis: int) -> Tensor:
    """Draws for the patches of a step, so that each has the same whether devices share the batch or not.

    Args:
        draw: Draws values of a shape.
        shape: What this device needs.
        axis: Along which the patches lie.
    """
    replica = _find_replica()
    if replica is None:
        return draw(shape)
    count = replica.num_replicas_in_sync
    whole = draw((*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))
    return keras.ops.stack(keras.ops.split(whole, count, axis))[replica.replica_id_in_sync_group]


def sum_device_gradients(gradients: list[Tensor]) -> tuple[list[Tensor], int]:
    """Sums gradients over the devices that share the step, each of which has only those of its share.

    Returns:
        The whole batch's gradients; and how many devices will hand them to the optimiser, which sums them once more.
    """
    replica = _find_replica()
    if replica is None:
        return gradients, 1
    return list(replica.all_reduce("SUM", gradients)), replica.num_replicas_in_sync


def _find_replica() -> ReplicaContext | None:
    """Returns the tf.distribute.ReplicaContext in which a step is run by each device; None elsewhere."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return replica if replica is not None and replica.num_replicas_in_sync > 1 else None
