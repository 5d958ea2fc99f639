"""Answers as catalogues: the field's columns, read back by astropy from every format."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.table import Table

from deeplense_core.answers import EXPORTS, answer_row, export
from deeplense_core.images import LensImage
from deeplense_core.trained import Prediction

FIELD = {"name", "ra", "dec", "score", "p_calibrated", "class", "grade", "grader", "comment", "theta_E", "survey",
         "model_id", "time"}  # fmt: skip
CLASSES = ("no", "sphere")


def rows():
    image = LensImage(np.zeros((1, 2, 2), np.float32), 0.1, (), {"ra_deg": 150.25, "dec_deg": -2.5})
    known = Prediction(np.array([0.9, 0.1]), (), True, ("no",), 0.5)
    strange = Prediction(np.array([0.01, 0.99]), ("unlike the training images",), False, (), 4.0)
    plain = LensImage(np.zeros((1, 2, 2), np.float32))
    return [answer_row("<img src=x onerror=alert(1)>", image, known, CLASSES, "common-test"),
            answer_row("=1+1", plain, strange, CLASSES, "common-test")]  # fmt: skip


def test_an_unfamiliar_image_has_no_class():
    known, strange = rows()
    assert set(known) >= FIELD
    assert (known["class"], known["p_calibrated"], known["classes_95"]) == ("no", 0.9, "no")
    assert (strange["class"], strange["p_calibrated"], strange["score"], strange["p_sphere"]) == ("", None, 0.99, 0.99)


@pytest.mark.parametrize("ending", EXPORTS)
def test_every_format_is_read_back_by_astropy(ending):
    data = export(rows(), ending)
    formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}
    table = Table.read(io.BytesIO(data), format=formats[ending])
    assert list(table.colnames) == list(rows()[0])
    assert str(table["name"][0]).strip() == "<img src=x onerror=alert(1)>"
    assert str(table["name"][1]).strip() == ("'=1+1" if ending == ".csv" else "=1+1")
    assert table["ra"][0] == 150.25
    assert table["dec"][0] == -2.5
    missing = np.ma.getmaskarray(table["p_calibrated"])[1] or np.isnan(table["p_calibrated"][1])
    assert missing
    assert table["p_calibrated"][0] == 0.9
    if ending != ".csv":
        assert str(table["ra"].unit) == "deg"
