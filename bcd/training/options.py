"""How a network is trained, as options."""

from __future__ import annotations

from pydantic import Field

from bcd.options import Options


class TrainOptions(Options):
    """How a network is trained; the defaults suit `compact` on some thousands of patches."""

    epochs: int = Field(8, ge=1, le=1000, description="Times that every training patch is seen.")
    batch_size: int = Field(64, ge=1, le=8192, description="Patches a step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate, after warm-up; cosine after it.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps in which the learning rate rises.")
    weight_decay: float = Field(1e-3, ge=0, le=1, description="AdamW's decay of weights.")
    clip: float = Field(1.0, gt=0, description="Largest norm of a step's gradient.")
    ema: float = Field(0.5, ge=0, le=10, description="Epochs over which weights are averaged; 0: not averaged.")
    augmentation: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Strength of stain, brightness and contrast jitter; 0: flips and rotations only.",
    )
    seed: int = Field(1, ge=0, le=2**20, description="Seeds initial weights, order of patches and augmentation.")
    min_train_patients: int = Field(10, ge=1, description="Training refuses with fewer train patients.")
    min_val_patients: int = Field(5, ge=1, description="Training refuses with fewer val patients.")
