"""From an architecture to a Keras model made of Keras' own layers only, so it loads wherever Keras is."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from bcd.networks.architecture import Architecture, Stage, Stem
from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    from keras import KerasTensor, Model

_GROUPS = 8
_LEAST_GROUP = 4  # channels; a group of one would lose what it says of the whole patch


def build_network(architecture: Architecture, seed: int = 0) -> Model:
    """Builds the network that an architecture describes.

    Args:
        architecture: The description.
        seed: Seeds the initial weights and the dropout, without touching the process's random state.

    Returns:
        A keras.Model from prepared patches (n, 50, 50, 3), values 0 to 255, to one logit (n, 1).
    """
    return _Builder(architecture, seed).build()


def is_bcd_network(network: Model) -> bool:
    """Whether `build_network` made a network, going by the names that it gives."""
    return (network.name, network.layers[0].name, network.layers[-1].name) == ("network", "patches", "logit")


def count_normalisation_groups(width: int) -> int:
    """Returns over how many groups of channels group normalisation goes (Wu & He 2018): at most 8, of at least 4."""
    return next(n for n in range(_GROUPS, 0, -1) if n == 1 or (width % n == 0 and width >= n * _LEAST_GROUP))


class _Builder:
    """Puts layers behind one another; each method takes the values so far and returns those behind its layers."""

    def __init__(self, architecture: Architecture, seed: int) -> None:
        from bcd.networks.backend import keras

        self.keras, self.layers = keras, keras.layers
        self.architecture = architecture
        self.is_preactivated = architecture.order == "norm-relu-conv"
        self.seeds = count(seed * 1000)

    def build(self) -> Model:
        architecture, layers = self.architecture, self.layers
        patches = self.keras.Input((PATCH_PIXELS, PATCH_PIXELS, 3), name="patches")
        self.pixels = values = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(patches)
        if architecture.stem is not None:
            values = self._stem(values, architecture.stem)
        for number, stage in enumerate(architecture.stages, 1):
            values = self._stage(values, stage, f"stage{number}")
        if self.is_preactivated:
            values = self._activate(values, "stages")
        return self.keras.Model(patches, self._head(values), name="network")

    def _stem(self, values: KerasTensor, stem: Stem) -> KerasTensor:
        # Tiles that the edge would cut are left out, not filled up.
        padding = "valid" if stem.kind == "patchify" else "same"
        values = self._convolve(values, stem.filters, stem.kernel, "stem", stride=stem.stride, padding=padding)
        return values if self.is_preactivated else self._activate(values, "stem")

    def _stage(self, values: KerasTensor, stage: Stage, name: str) -> KerasTensor:
        names = [f"{name}_{index}" for index in range(1, stage.depth + 1)]
        if stage.residual:
            for first, second in zip(names[::2], names[1::2], strict=True):
                values = self._add_residual(values, stage, first, second)
        else:
            for each in names:
                values = self._add_plain(values, stage, each)
        if stage.pool > 1:
            pooling = {"max": self.layers.MaxPooling2D, "average": self.layers.AveragePooling2D}[stage.pooling]
            values = pooling(stage.pool, name=f"{name}_pool")(values)
        return self._drop(values, stage.dropout, f"{name}_dropout")

    def _add_plain(self, values: KerasTensor, stage: Stage, name: str) -> KerasTensor:
        if self.is_preactivated:
            return self._convolve(self._activate(values, name), stage.filters, stage.kernel, name)
        return self._activate(self._convolve(values, stage.filters, stage.kernel, name), name)

    def _add_residual(self, values: KerasTensor, stage: Stage, first: str, second: str) -> KerasTensor:
        """Leads a shortcut around two convolutions; a 1x1 convolution widens it where it must.

        The sum stands before the last activation (He 2016) and, with pre-activation, behind the last convolution, so
        that shortcuts are identities from end to end (He 2016, Identity Mappings); there a shortcut that is widened
        starts behind the first activation, as in that work.
        """
        widens = values.shape[-1] != stage.filters
        add, shortcut = self.layers.Add(name=f"{second}_add"), f"{second}_shortcut"
        if self.is_preactivated:
            active = self._activate(values, first)
            around = self._convolve(active, stage.filters, 1, shortcut) if widens else values
            inner = self._convolve(active, stage.filters, stage.kernel, first)
            return add([self._convolve(self._activate(inner, second), stage.filters, stage.kernel, second), around])
        around = self._normalise(self._convolve(values, stage.filters, 1, shortcut), shortcut) if widens else values
        inner = self._convolve(self._add_plain(values, stage, first), stage.filters, stage.kernel, second)
        if self.architecture.order == "conv-relu-norm":
            return add([self._activate(inner, second), around])
        return self._rectify(add([self._normalise(inner, second), around]), second)

    def _head(self, values: KerasTensor) -> KerasTensor:
        head, layers = self.architecture.head, self.layers
        reductions = {"flatten": layers.Flatten, "average": layers.GlobalAveragePooling2D}
        reductions["max"] = layers.GlobalMaxPooling2D
        values = reductions[head.reduce](name=head.reduce)(values)
        if head.dense:
            start = self.keras.initializers.HeNormal(seed=next(self.seeds))
            values = self._activate(layers.Dense(head.dense, kernel_initializer=start, name="dense")(values), "dense")
        values = self._drop(values, head.dropout, "head_dropout")
        start = self.keras.initializers.GlorotUniform(seed=next(self.seeds))
        return layers.Dense(1, kernel_initializer=start, dtype="float32", name="logit")(values)

    def _convolve(
        self, values: KerasTensor, filters: int, kernel: int, name: str, *, stride: int = 1, padding: str = "same"
    ) -> KerasTensor:
        start = self.keras.initializers.HeNormal(seed=next(self.seeds))
        return self.layers.Conv2D(
            filters, kernel, strides=stride, padding=padding, kernel_initializer=start, name=name
        )(values)

    def _activate(self, values: KerasTensor, name: str) -> KerasTensor:
        """Normalises and rectifies, in the architecture's order; pixels stay as they are, half of them negative."""
        if values is self.pixels:
            return values
        if self.architecture.order == "conv-relu-norm":
            return self._normalise(self._rectify(values, name), name)
        return self._rectify(self._normalise(values, name), name)

    def _rectify(self, values: KerasTensor, name: str) -> KerasTensor:
        return self.layers.ReLU(name=f"{name}_relu")(values)

    def _normalise(self, values: KerasTensor, name: str) -> KerasTensor:
        name = f"{name}_norm"
        if self.architecture.normalisation == "none":
            return values
        if self.architecture.normalisation == "group":
            return self.layers.GroupNormalization(count_normalisation_groups(values.shape[-1]), name=name)(values)
        # Keras' own .99 is too slow for short trainings: after 100 steps a third of the start is still in it.
        return self.layers.BatchNormalization(momentum=0.95, name=name)(values)

    def _drop(self, values: KerasTensor, share: float, name: str) -> KerasTensor:
        return self.layers.Dropout(share, seed=next(self.seeds), name=name)(values) if share else values
