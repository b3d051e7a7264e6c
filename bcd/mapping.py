"""Who works on many patients or many slides: the table `[run]` of bcd.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from bcd.options import Options


class RunOptions(Options):
    """How a run does what it has to do for many patients or many slides."""

    engine: Literal["process", "dask"] = Field(
        "process",
        description="process: one patient or slide after another, in the run's own process; dask: several at a time, "
        "in the processes of a Dask cluster (extra `dask`).",
    )
    dask_address: str = Field(
        "",
        description="Dask's scheduler, as tcp://HOST:8786; empty: a process for each core of the run's machine.",
    )

    @field_validator("dask_address")
    @classmethod
    def _be_an_address(cls, address: str) -> str:
        if address and not address.startswith(("tcp://", "tls://")):
            raise ValueError("the address of a Dask scheduler, such as tcp://HOST:8786")
        return address
