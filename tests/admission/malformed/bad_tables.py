"""Tables of labels beside the patches, malformed; each in a folder of its own, about a patient of its own."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
from cases import ADMITTED, BadFile, patch

HEAD = "patient,slide,x,y,label\n"


def bad_tables() -> list[BadFile]:
    """Returns every table, then the unlabelled patch beside it, and the patch Z that good tables are about."""
    tables = [*_csv(), *_parquet()]
    patches = [
        BadFile(f"beside: {what}", f"T{n:02}/T{n:02}_idx1_x51_y51.png", patch(), ADMITTED)
        for n, (what, *_) in enumerate(tables)
    ]
    return [
        BadFile(f"table: {what}", f"T{n:02}/{name}", data, fate) for n, (what, name, data, fate) in enumerate(tables)
    ] + [*patches, BadFile("what good tables are about", "Z/Z_idx1_x51_y51.png", patch(), ADMITTED)]


def _csv() -> Iterator[tuple[str, str, bytes, str]]:
    line = "{p},1,51,51,1\n"
    for what, text in {
        "no bytes": "",
        "a header alone, without label": "patient,slide,x,y\n",
        "no header": line,
        "no column x": "patient,slide,y,label\nT,1,51,1\n",
        "two columns label": "patient,slide,x,y,label,label\nT,1,51,51,1,1\n",
        "label 2": f"{HEAD}T,1,51,51,2\n",
        "label in unknown words": f"{HEAD}Z,1,51,51,DCIS\n",
        "label 1.5": f"{HEAD}Z,1,51,51,1.5\n",
        "x negative": f"{HEAD}T,1,-49,51,1\n",
        "x of 300 digits": f"{HEAD}T,1,{'5' * 300},51,1\n",
        "x infinite": f"{HEAD}T,1,inf,51,1\n",
        "x in full-width digits": f"{HEAD}T,1,\uff15\uff11,51,1\n",
        "contradicts itself": f"{HEAD}T,1,51,51,1\nT,1,51,51,0\n",
        "more fields than columns": f"{HEAD}T,1,51,51,1\nT,1,101,51,1,9,9\n",
        "fewer fields than columns": f"{HEAD}T,1\n",
        "a quote that never ends": f'{HEAD}"T,1,51,51,1\n' + line * 9,
        "a name that is no patch's": "name,label\nIMG_0001.png,1\n",
        "a patient of nowhere": f"{HEAD}NOBODY,1,51,51,1\n",
        "a formula for a patient": f"{HEAD}=1+1,1,51,51,1\n",
        "lines that are one": HEAD.strip() + "," + "9" * 1_000_000,
        "a million commas": "," * 1_000_000,
        "a web page": "<!DOCTYPE html><title>404</title>",
    }.items():
        yield what, "labels.csv", text.encode(), "labels-file"
    for what, data in {
        "Latin-1": f"{HEAD}M\xfcller,1,51,51,1\n".encode("latin-1"),
        "random bytes": np.random.default_rng(0).bytes(3000),
        "a NUL in the label": f"{HEAD}T,1,51,51,1\0\n".encode(),
        "gzip": gzip.compress(HEAD.encode()),
        "a workbook": b"PK\3\4" + bytes(300),
        "a picture": patch(),
    }.items():
        yield what, "labels.csv", data, "labels-file"
    for what, text in {
        "a mark of byte order": f"\ufeff{HEAD}Z,1,51,51,1\n",
        "semicolons": f"{HEAD}Z,1,51,51,1\n".replace(",", ";"),
        "line ends of Windows": f"{HEAD}Z,1,51,51,1\n".replace("\n", "\r\n"),
        "line ends of old Macs": f"{HEAD}Z,1,51,51,1\n".replace("\n", "\r"),
        "empty lines": f"{HEAD}\n\nZ,1,51,51,1\n\n",
        "capitals and spaces in the header": " Patient , SLIDE,x,y, Label\nZ,1,51,51,1\n",
        "label in words": f"{HEAD}Z,1,51,51,IDC\n",
        "label 1.0": f"{HEAD}Z,1,51,51,1.0\n",
        "separated by tabs": f"{HEAD}Z,1,51,51,1\n".replace(",", "\t"),
        "a header alone": HEAD,
        "a label taken back": f"{HEAD}Z,1,51,51,\n",
        "the same twice": f"{HEAD}Z,1,51,51,1\nZ,1,51,51,1\n",
        "no end of line": f"{HEAD}Z,1,51,51,1",
    }.items():
        yield what, "labels.csv", text.encode(), ADMITTED
    yield "UTF-16", "labels.csv", f"{HEAD}Z,1,51,51,1\n".encode("utf-16"), ADMITTED


def _parquet() -> Iterator[tuple[str, str, bytes, str]]:
    row = {"patient": ["T"], "slide": ["1"], "x": [51], "y": [51], "label": [1]}
    whole = _as_parquet(pd.DataFrame(row | {"patient": ["Z"]}))
    footer = int.from_bytes(whole[-8:-4], "little")
    yield "whole", "labels.parquet", whole, ADMITTED
    yield (
        "labels that are bytes",
        "labels.parquet",
        _as_parquet(pd.DataFrame(row | {"patient": ["Z"], "label": [b"1"]})),
        ADMITTED,
    )
    yield "suffix in capitals", "LABELS.PARQUET", whole, ADMITTED
    for what, data in {
        "no bytes": b"",
        "truncated": whole[:-40],
        "its first half": whole[: len(whole) // 2],
        "its footer damaged": whole[: -8 - footer] + b"\xff" * 20 + whole[12 - footer :],
        "its footer's length absurd": whole[:-8] + b"\xff\xff\xff\x7fPAR1",
        "its footer's length nothing": whole[:-8] + bytes(4) + b"PAR1",
        "its pages damaged": whole[:4] + bytes(60) + whole[64:],
        "encrypted": whole[:-4] + b"PARE",
        "marks alone": b"PAR1PAR1",
        "CSV": f"{HEAD}T,1,51,51,1\n".encode(),
        "no columns": _as_parquet(pd.DataFrame()),
        "columns that are numbers": _as_parquet(pd.DataFrame([[1, 2], [3, 4]])),
        "columns in two levels": _as_parquet(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))),
        "labels that are fractions": _as_parquet(pd.DataFrame(row | {"label": [0.5]})),
        "labels that are lists": _as_parquet(pd.DataFrame(row | {"label": [[1]]})),
        "labels that are dates": _as_parquet(pd.DataFrame(row | {"label": [pd.Timestamp(0)]})),
        "x that is true": _as_parquet(pd.DataFrame(row | {"x": [True]})),
        "x beyond 64 bits": _as_parquet(pd.DataFrame(row | {"x": [2.0**70]})),
        "x that is structured": _as_parquet(pd.DataFrame(row | {"x": [{"a": 1}]})),
    }.items():
        yield f"Parquet: {what}", "labels.parquet", data, "labels-file"


def _as_parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()
