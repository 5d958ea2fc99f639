"""The super-resolution page: pairs, rows and their numbers, one table a data set."""

import numpy as np
import pandas as pd
import pytest
from trained_run import said

from deeplense_core.errors import UserError
from deeplense_core.evaluations import scoring
from deeplense_core.images import LensImage
from deeplense_core.metrics import superres as metrics
from deeplense_core.models.interpolation import enlarge
from deeplense_core.runs import Run
from deeplense_core.spec import RunSpec
from deeplense_core.superres import support
from pages.ui import own_sky, pairs
from pages.ui.sharpened import TABLE, best_row, fine_scale, fine_wcs, image_table, panels, set_table, title


@pytest.fixture(scope="module")
def pair() -> pairs.Pair:
    return pairs.pair_of("sim:sr-pairs", 3)


def interpolated(pair: pairs.Pair, name: str) -> np.ndarray:
    import torch

    return enlarge(torch.from_numpy(pair.low[None]), 2, name)[0].numpy()


def test_an_empty_workspace_shows_the_interpolations(open_page):
    app = open_page("superres")
    assert not app.error
    assert app.selectbox(key="superres_data").value == "sim:sr-pairs"
    assert app.multiselect(key="superres_kernels").value == ["bicubic"]
    assert "Best in bold" in said(app)
    app.number_input(key="superres_number").set_value(7).run()
    assert not app.exception
    assert not app.error


def test_numbers_of_one_image_are_those_of_the_definitions(pair):
    images = {name: interpolated(pair, name) for name in ("nearest", "bicubic")}
    table, range_ = image_table(pair, images, 2)
    assert range_ == metrics.data_range(pair.high[None])
    for name, image in images.items():
        mean_square = float(((image.astype(np.float64) - pair.high) ** 2).mean())
        assert table.data.loc["PSNR (dB)", name] == pytest.approx(10 * np.log10(range_**2 / mean_square))
        assert table.data.loc["flux ratio", name] == pytest.approx(image.sum() / pair.high.sum(), rel=1e-6)
    assert table.data.loc["PSNR (dB)", "bicubic"] > table.data.loc["PSNR (dB)", "nearest"]


def test_panels_share_one_sky_and_one_stretch(pair):
    found = panels(pair, {"bicubic": interpolated(pair, "bicubic")}, 2)
    assert [panel.title for panel in found] == ["coarse", "bicubic", "observed fine"]
    assert {panel.lock for panel in found} == {"sky"}
    widths = [panel.pixels.shape[-1] * panel.pixel_scale_arcsec for panel in found]
    assert widths == pytest.approx([widths[0]] * 3)
    assert fine_scale(pair, 2) == pytest.approx(0.05)


@pytest.mark.parametrize(("metric", "values", "best"), [
    ("psnr", [30.0, 40.0], "b"), ("mse", [30.0, 40.0], "a"), ("flux_ratio", [0.9, 1.2], "a"),
    ("reobs_chi2", [0.5, 1.1], "b"), ("ssim", [np.nan, 0.2], "b"), ("ssim", [np.nan, np.nan], None),
])  # fmt: skip
def test_best_row(metric, values, best):
    assert best_row(metric, pd.Series(values, index=["a", "b"])) == best


def report(value: float, **changes) -> dict:
    metric = {"value": value, "low": value - 1, "high": value + 1}
    none = {name: {"value": None, "low": None, "high": None, "undefined": "not known"} for name in TABLE}
    rows = {"net": {**none, "psnr": metric}, "bicubic": {**none, "psnr": {"value": 34.0, "low": 33.0, "high": 35.0}}}
    return {"run": "net", "task": "superres", "data": "sim:sr-pairs", "split": "test", "n": 400, "metrics": rows["net"],
            "rows": rows, "data_fingerprint": "sim-sr-pairs-1", "data_range": 790.0, "time": 1.0,
            "perceptual_weights": "none", "perceptual_images": 0, "row_names": list(rows), **changes}  # fmt: skip


def test_a_table_of_a_test_set_has_the_best_in_bold():
    table, best = set_table([report(40.0)])
    assert table.loc["PSNR (dB)", "net"] == "40.000 [39.000, 41.000]"
    assert best == {"PSNR (dB)": "net"}
    assert title(report(40.0)) == "sim:sr-pairs · test · 400 images"


def test_rows_of_a_test_set_are_compared_with_an_interval(open_page):
    run = with_evaluations({"one": report(40.0)})
    rng = np.random.default_rng(0)
    folder = run.path / "evaluations" / "one"
    write_json(folder / "report.json", {**report(40.0), "row_names": ["net", "bicubic"]})
    psnr = 34 + rng.normal(size=(400, 1)) + np.array([6.0, 0.0])
    np.savez(folder / "predictions.npz", ids=np.arange(400).astype("U"), psnr=psnr)
    app = open_page("superres", run=run.id)
    app.session_state["superres_tab"] = "All test images"
    app.run()
    assert not app.exception
    assert "PSNR (dB): net is better than bicubic, net minus bicubic +6.000 (95 %" in said(app)
    app.selectbox(key="superres_b").set_value("net").run()
    assert "two different rows" in said(app)


def test_an_own_image_is_made_finer_in_its_own_unit(open_page, monkeypatch):
    """In any unit, with every band; and what cannot be said of it is not said."""
    ring = np.stack([interpolated_ring(20, factor) for factor in (1e-3, 2e-3)])
    grid = "CTYPE1  = 'RA---TAN'\nCTYPE2  = 'DEC--TAN'\nCRVAL1  = 150.0\nCRVAL2  = 2.0\nCRPIX1  = 5.0\nCRPIX2  = 5.0"
    image = LensImage(ring, 0.2, ("g", "i"), {"name": "mine.fits", "wcs": grid, "unit": "nJy"})
    pair = own_sky.coarse_only(image)
    assert pair.per_pixel
    assert pair.real
    monkeypatch.setattr(own_sky, "own_pair", lambda: pair)
    app = open_page("superres")
    app.selectbox(key="superres_data").set_value(own_sky.OWN).run()
    assert not app.exception, app.exception
    assert not app.error
    assert "No fine image of this sky" in said(app)
    made = pairs.made("edsr-x2", 0.0, 2, pair.digest, pair)
    assert made.shape == (2, 40, 40)
    np.testing.assert_allclose(made[1], 2 * made[0], atol=2e-2 * made[0].max())
    np.testing.assert_allclose(made[0].mean(), ring[0].mean(), rtol=0.02)
    assert "CRPIX1  =                  9.5" in (fine_wcs(pair, 2) or "")  # 2 (5 - 0.5) + 0.5
    app.session_state["superres_tab"] = "What the coarse image confirms"
    app.run()
    assert "are not known" in said(app)
    with pytest.raises(UserError, match="command line"):
        own_sky.coarse_only(LensImage(np.zeros((1, 1001, 1000), np.float32), meta={"name": "large"}))


def interpolated_ring(side: int, factor: float) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    noise = np.random.default_rng(0).normal(0, 1.6, (side, side))
    return (factor * (300 * np.exp(-((np.hypot(x, y) - 5) ** 2) / 6) + noise)).astype(np.float32)


def test_maps_are_made_once_for_a_result(pair, monkeypatch):
    asked = []
    known = support.unsupported
    monkeypatch.setattr(support, "unsupported", lambda *args: asked.append(1) or known(*args))
    image = interpolated(pair, "bicubic")
    pairs.camera_maps.clear()
    first, second = (pairs.camera_maps("bicubic", 0.0, 2, pair.digest, pair, image) for _ in range(2))
    assert len(asked) == 1
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    # The same numbers as the definition, and another pair is another entry.
    spread = np.sqrt((np.clip(image, 0, None) + pair.columns["truth_sky"]) / pair.columns["truth_hr_counts_per_unit"])
    np.testing.assert_allclose(first[2], (image - pair.high) / spread, rtol=1e-5, atol=1e-5)
    other = pairs.pair_of("sim:sr-pairs", 4)
    assert other.digest != pair.digest
    pairs.camera_maps("bicubic", 0.0, 2, other.digest, other, image)
    assert len(asked) == 2


def test_equal_images_differ_by_nothing(pair):
    assert pair.high is not None
    found = image_table(pair, {"copy": pair.high}, 2)[0].data["copy"]
    assert found["PSNR (dB)"] == np.inf
    assert found["flux ratio"] == 1
    off = pairs.camera_maps("copy of the fine image", 0.0, 2, pair.digest, pair, pair.high)[2]
    assert off is not None
    assert not off.any()


def with_evaluations(reports: dict[str, dict]) -> Run:
    """A run of super-resolution with these evaluations and nothing in its weights."""
    run = Run.create(RunSpec("superres", "sim:sr-pairs", "bicubic", {}, {}, {}, 0, "bi"))
    run.set_status(state="done", best=34.0, best_name="psnr")
    card = {"task": "superres", "model": "bicubic", "model_settings": {}, "data": "sim:sr-pairs",
            "model_args": {"in_channels": 1, "scale": 2, "unit": 1.0}}  # fmt: skip
    write_json(run.path / "model.json", card)
    (run.path / "model.safetensors").write_bytes(EMPTY_SAFETENSORS)
    for name, one in reports.items():
        write_json(run.path / "evaluations" / name / "report.json", one)
    return run


def test_two_data_sets_are_never_in_one_table(open_page):
    run = with_evaluations({"one": report(40.0), "two": report(41.0, data="other", data_fingerprint="f", n=7)})
    app = open_page("superres", run=run.id)
    assert app.multiselect(key="superres_networks").value == [run.id]
    app.session_state["superres_tab"] = "All test images"
    app.run()
    assert not app.exception
    sets = app.selectbox(key="superres_set")
    assert sorted(sets.options) == ["other · test · 7 images", "sim:sr-pairs · test · 400 images"]
    assert len(app.dataframe) == 1


def test_a_network_is_evaluated_from_the_page(open_page, monkeypatch):
    started = []
    monkeypatch.setattr(scoring, "start", lambda name, data, split="test": started.append((name, data, split)))
    app = open_page("superres")
    assert app.multiselect(key="superres_networks").value == ["edsr-x2"]
    app.session_state["superres_tab"] = "All test images"
    app.run()
    app.button(key="superres_score_0_own").click().run()
    app.button(key="superres_score_start").click().run()
    assert started == [("edsr-x2", "sim:sr-pairs", "test")] * 2
    offered = app.selectbox(key="superres_score_data").options
    assert offered
    assert all("→" in option for option in offered), "only pairs can be scored"


def test_distances_by_different_features_are_left_out(open_page):
    a, b = report(40.0), report(41.0, perceptual_weights="VGG19")
    for one in (a, b):
        for row in one["rows"].values():
            row["perceptual"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    run = with_evaluations({"one": a, "two": b})
    app = open_page("superres", run=run.id)
    app.session_state["superres_tab"] = "All test images"
    app.run()
    assert "evaluated with different features" in said(app)
    assert "perceptual distance" not in app.dataframe[0].value.index
    assert "PSNR (dB)" in app.dataframe[0].value.index


EMPTY_SAFETENSORS = (2).to_bytes(8, "little") + b"{}"


def write_json(path, value) -> None:
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
