"""The super-resolution page: pairs, rows and their numbers, one table a data set."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from trained_run import said

from deeplense_core.data import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.evaluations import scoring
from deeplense_core.images import LensImage
from deeplense_core.metrics import superres as metrics
from deeplense_core.models.interpolation import enlarge
from deeplense_core.runs import Run
from deeplense_core.spec import RunSpec
from deeplense_core.superres import support
from deeplense_core.workspace import datasets_dir
from pages.ui import own_sky, pairs
from pages.ui.sharpened import (
    TABLE,
    best_row,
    fine_scale,
    fine_wcs,
    image_table,
    panels,
    profiles,
    sentence,
    set_table,
    title,
)


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


def test_a_row_that_fails_does_not_take_the_others_with_it(open_page, monkeypatch):
    made = pairs.made

    def fails(row, *args):
        if row == "bicubic":
            raise UserError("bicubic has no weights. Train it.")
        return made(row, *args)

    monkeypatch.setattr(pairs, "made", fails)
    app = open_page("superres")
    app.multiselect(key="superres_kernels").set_value(["bicubic", "lanczos"]).run()
    assert [error.value for error in app.error] == ["**bicubic has no weights.**  \nTrain it."]
    assert "Best in bold" in said(app)


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


@pytest.mark.parametrize("arcsec", [0.1, None])
def test_profiles_are_of_one_sky(pair, arcsec):
    """The same brightness at the same radius, whatever the size of a pixel."""
    found = profiles(replace(pair, low_scale_arcsec=arcsec), {"bicubic": interpolated(pair, "bicubic")}, 2)
    assert list(found) == ["bicubic", "observed fine", "coarse"]
    fine = (arcsec or 2.0) / 2
    assert {round(float(radius[-1] / fine)) for radius, _ in found.values()} <= {73, 74, 75}
    (radius, value), (coarse_radius, coarse_value) = found["bicubic"], found["coarse"]
    np.testing.assert_allclose(np.interp(coarse_radius[3:-1], radius, value), coarse_value[3:-1],
                               atol=0.1 * coarse_value.max())  # fmt: skip


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
    of_set = dict.fromkeys(("psnr", *metrics.OF_A_SET), {"value": 40.0, "low": 39.0, "high": 41.0})
    write_json(folder / "report.json", {**report(40.0), "row_names": ["net", "bicubic"], "metrics": of_set})
    psnr = 34 + rng.normal(size=(400, 1)) + np.array([6.0, 0.0])
    np.savez(folder / "predictions.npz", ids=np.arange(400).astype("U"), psnr=psnr)
    app = open_page("superres", run=run.id)
    app.session_state["superres_tab"] = "All test images"
    app.run()
    assert not app.exception
    assert app.selectbox(key="superres_metric").options == ["PSNR (dB)"], "a metric of a whole set has no pairs"
    assert "PSNR (dB): net is better than bicubic, net minus bicubic +6.000 (95 %" in said(app)
    app.selectbox(key="superres_b").set_value("net").run()
    assert "two different rows" in said(app)


def test_a_difference_in_words():
    found = {"value": -0.25, "low": -0.3, "high": -0.2, "n": 1200, "verdict": "B better"}
    assert sentence(found, "srcnn", "edsr", "psnr") == (
        "PSNR (dB): edsr is better than srcnn, srcnn minus edsr -0.250 (95 % -0.300 to -0.200, 1,200 images).")
    equal = {**found, "verdict": "not distinguishable", "low": None, "high": None}
    assert "flux ratio, its distance from 1: srcnn and edsr are not distinguishable" in sentence(
        equal, "srcnn", "edsr", "flux_ratio")  # fmt: skip
    assert "one image has no interval" in sentence(equal, "a", "b", "psnr")
    assert "cannot be compared, why" in sentence({**found, "value": None, "undefined": "why"}, "a", "b", "psnr")


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
    pairs.measured.clear()  # what is cached by the name of a row is another image
    found = image_table(pair, {"nearest": pair.high}, 2)[0].data["nearest"]
    pairs.measured.clear()
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


def pair_set(name: str, bands: int = 1, level: float = 0.0):
    """Four pairs in which a coarse pixel is four equal fine ones, without a word about noise."""
    low = np.random.default_rng(0).random((4, bands, 16, 16)) + level
    fine = low.repeat(2, 2).repeat(2, 3)
    with DatasetWriter(
        datasets_dir() / name, classes=(), shape=low.shape[1:], target_shape=fine.shape[1:], source={"kind": "test"},
        pixel_scale_arcsec=0.1, target_pixel_scale_arcsec=0.05,
    ) as out:  # fmt: skip
        out.append(low, {"label": [""] * 4, "split": ["test"] * 4}, fine)
        return out.finish()


def test_a_network_of_one_band_sees_each_band_of_a_pair_by_itself(open_page):
    """The page ended in an error of torch."""
    ds = pair_set("three", bands=3)
    app = open_page("superres")
    app.selectbox(key="superres_data").set_value(str(ds.path)).run()
    assert not app.exception, app.exception
    assert not app.error
    pair = pairs.pair_of(str(ds.path), 0)
    made = pairs.made("edsr-x2", pairs.written("edsr-x2"), 2, pair.digest, pair)
    alone = replace(pair, low=pair.low[1:2], high=None)
    np.testing.assert_allclose(made[1:2], pairs.made("edsr-x2", 0.0, 2, alone.digest, alone), atol=1e-5)


def test_a_data_set_made_again_in_its_folder_is_read_again():
    import shutil

    first = pairs.pair_of(str(pair_set("again").path), 2)
    shutil.rmtree(datasets_dir() / "again")
    second = pairs.pair_of(str(pair_set("again", level=5).path), 2)
    np.testing.assert_allclose(second.low, first.low + 5, rtol=1e-6)


def test_all_that_a_map_depends_on_is_in_the_hash(pair):
    assert pair.high is not None
    changes = {"low": pair.low + 1, "high": pair.high + 1, "low_scale_arcsec": 0.3, "kernel": np.ones((3, 3)),
               "columns": {**pair.columns, "truth_sky": 1.0}}  # fmt: skip
    assert len({replace(pair, **{name: value}).digest for name, value in changes.items()} | {pair.digest}) == 6


def test_values_counted_per_pixel_are_told_of_real_pairs_alone(pair):
    """A registered pair in nJy was saved with four times its flux."""
    real = replace(pair, columns={"lr_noise": 1.0}, unit="nJy")
    assert real.per_pixel
    assert not replace(real, unit="nJy/arcsec2").per_pixel
    assert not replace(pair, unit="counts").per_pixel


def test_a_link_is_followed_each_time_and_only_once(open_page):
    a, b = with_evaluations({}), with_evaluations({})
    app = open_page("superres", run=a.id)
    assert app.multiselect(key="superres_networks").value == [a.id]
    app.multiselect(key="superres_networks").set_value(["edsr-x2"]).run()
    assert app.multiselect(key="superres_networks").value == ["edsr-x2"], "the reader's choice was taken back"
    app.switch_page("pages/runs.py").run()
    app.switch_page("pages/superres.py")
    app.query_params["run"] = b.id
    app.run()
    assert app.multiselect(key="superres_networks").value == [b.id]


def test_two_runs_called_the_same_are_told_apart(open_page):
    """One column of the table was written over the other."""
    a, b = with_evaluations({}), with_evaluations({})
    labels = pairs.row_labels(["bicubic", a.id, f"{b.id} x8", "edsr-x2"])
    assert labels == {"bicubic": "bicubic", "edsr-x2": "edsr-x2", a.id: f"bi {a.id[-4:]}",
                      f"{b.id} x8": f"bi {b.id[-4:]} x8"}  # fmt: skip
    assert pairs.row_labels([a.id]) == {a.id: "bi"}
    app = open_page("superres")
    app.multiselect(key="superres_networks").set_value([a.id, b.id]).run()
    assert list(app.dataframe[0].value.columns) == ["bicubic", f"bi {a.id[-4:]}", f"bi {b.id[-4:]}"]


def test_two_data_sets_are_never_in_one_table(open_page):
    run = with_evaluations({"one": report(40.0), "two": report(41.0, data="other", data_fingerprint="f", n=7),
                            "three": report(39.0, n=30)})  # fmt: skip
    app = open_page("superres", run=run.id)
    assert app.multiselect(key="superres_networks").value == [run.id]
    app.session_state["superres_tab"] = "All test images"
    app.run()
    assert not app.exception
    sets = app.selectbox(key="superres_set")
    assert sorted(sets.options) == ["other · test · 7 images", "sim:sr-pairs · test · 30 images",
                                    "sim:sr-pairs · test · 400 images"]  # fmt: skip
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
