"""Scenes of galaxies: light as the tested profiles have it, an honest camera, and nothing but the lens by the class."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from deeplense_core.audit import audit, image_statistics
from deeplense_core.sim import dataset, recipe_info, simulate, simulate_dataset
from deeplense_core.sim.galaxies import camera, light
from deeplense_core.sim.galaxies.random import choice
from deeplense_core.sim.galaxies.scene import KINDS, LENS, Lens, Pattern, Profiles, Survey
from deeplense_core.sim.profiles import (
    Ellipsoid,
    Sersic,
    sersic_amplitude,
    sersic_brightness,
    shear_deflection,
    sie_deflection,
)
from deeplense_core.sources import describe

COUNTS = {"scaling": "counts"}


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_light_is_that_of_the_tested_profiles():
    """Against profiles held to lenstronomy, away from the softened centre."""
    p = Profiles(column(0.1, -0.4), column(0.2, 0.3), column(0.8, 1.5), column(1.0, 4.0), column(0.6, 0.9),
                 column(0.4, 2.0), column(100.0, 50.0)[..., None])
    scale = torch.full((2,), 0.2)
    x, y = light.grid(16, scale)
    found = light.profiles(x, y, p, light.soft_sq(scale))[:, 0]
    amplitude = torch.tensor([sersic_amplitude(100.0, 0.8, 1.0), sersic_amplitude(50.0, 1.5, 4.0)])
    expected = sersic_brightness(x, y, Sersic.of(*(v[:, 0] for v in p[:6]), amplitude))
    far = (x - p.x[:, :, None]) ** 2 + (y - p.y[:, :, None]) ** 2 > 0.6**2
    torch.testing.assert_close(found[far], expected[far], rtol=0.02, atol=0)


def test_source_is_lensed_by_the_tested_deflection():
    lens = Lens(*torch.tensor([[0.1], [-0.1], [1.2], [0.7], [0.5], [0.05], [-0.03]]))
    ones = torch.ones(1, 2)
    source = Profiles(ones * 0.1, ones * 0.05, ones * 0.3, torch.tensor([[1.0, 0.5]]), torch.tensor([[0.6, 1.0]]),
                      torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0], [0.0]]]))
    scale = torch.full((1,), 0.2)
    x, y = light.grid(32, scale)
    found = light.lensed_source(x, y, lens, source, light.soft_sq(scale))[0, 0]
    ax, ay = sie_deflection(x - 0.1, y + 0.1, Ellipsoid.of(lens.theta_E, lens.q, lens.phi))
    sx, sy = shear_deflection(x - 0.1, y + 0.1, torch.tensor(0.05), torch.tensor(-0.03))
    s = Sersic.of(*(v[:, 0] for v in source[:6]), torch.tensor([sersic_amplitude(1.0, 0.3, 1.0)]))
    expected = sersic_brightness(x - 0.1 - ax - sx, y + 0.1 - ay - sy, s)[0]
    faint = expected < 0.5 * expected.max()
    torch.testing.assert_close(found[faint], expected[faint], rtol=0.03, atol=1e-6)


def test_patterns_and_small_objects_keep_their_flux():
    scale = torch.full((2,), 0.2)
    x, y = light.grid(48, scale)
    zero, one = torch.zeros(2), torch.ones(2)
    p = Pattern(zero, zero, 0.8 * one, one, torch.tensor([0.8, 1.5]), torch.tensor([0.0, 0.2]), 2 * one, 2 * one, one,
                0.8 * one, zero, torch.tensor([30.0, 20.0]))
    area = (scale / light.FINE).square()[:, None, None]
    assert (light.pattern(x, y, p, area).sum((1, 2, 3)) * area[:, 0, 0]).tolist() == pytest.approx([30, 20], rel=1e-4)
    sky = torch.zeros(1, 1, x.shape[2], x.shape[2])
    small = Profiles(column(1.03), column(-2.0), column(0.25), column(1.0), column(0.7), column(0.3),
                     column(10.0)[..., None])
    light.add_patches(sky, scale[:1], small)
    assert float(sky.sum() * area[0]) == pytest.approx(10, rel=0.06)
    axis = x[0, 0]
    assert float((sky[0, 0].sum(0) * axis).sum() / sky.sum()) == pytest.approx(1.03, abs=0.01)


def survey(n: int, bands: int, **given) -> Survey:
    full = {name: torch.zeros(n, bands) for name in Survey._fields}
    full |= {"pixel_scale": torch.full((n,), 0.2), "fwhm": torch.full((n, bands), 0.8), "depth": full["depth"] + 25,
             "sky_mag": full["sky_mag"] + 21, "noise_scale": full["noise_scale"] + 1, "gain": full["gain"] + 1,
             "correlation": torch.full((n,), 0.3), "scaling": torch.zeros(n), "sky_level": torch.zeros(n, 4, bands),
             "shift": torch.zeros(n, 2, bands), "stripe": torch.zeros(n, 3, bands), "trail": torch.zeros(n, 3, bands)}
    return Survey(**(full | given))


def test_seeing_keeps_flux_and_has_its_width():
    s = survey(1, 1)
    side = light.FINE * (32 + 2 * light.PAD)
    sky = torch.zeros(1, 1, side, side)
    sky[0, 0, side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1] = 25.0
    image = camera.blur(sky, s, 32)[0, 0]
    assert float(image.sum()) == pytest.approx(25 * 0.2**2, rel=1e-3)
    peak = image[16] / image.max()
    assert float(peak[15]) > 0.5 ** 0.5
    half = 2 * float((peak > 0.5).sum()) * 0.2 / 2
    assert half == pytest.approx(0.8, abs=0.21)


def test_noise_of_the_sky_is_that_of_its_depth():
    """Five sigma of an aperture of 2 arcsec, with neighbours that add to the variance of a sum but not of a pixel."""
    s = survey(8, 2)
    keys = torch.randint(-2**31, 2**31, (8, 2), generator=torch.Generator().manual_seed(1)).to(torch.int32)
    image = camera.stored(torch.zeros(8, 2, 64, 64), s, keys, True)
    expected = 10 ** (0.4 * (27 - 25)) / 5 * 0.2 / math.sqrt(math.pi)
    assert float(image.std()) == pytest.approx(expected, rel=0.02)
    neighbours = float((image[..., 1:] * image[..., :-1]).mean() / image.var())
    assert neighbours == pytest.approx(2 * 0.3 / (1 + 2 * 0.3**2), abs=0.03)
    assert float((image[:, 0] * image[:, 1]).mean()) == pytest.approx(0, abs=0.03 * expected**2)


def test_what_goes_wrong_is_where_it_was_drawn():
    s = survey(2, 2)
    s.missing[0, 1] = 1
    s.stripe[1, :, 0] = torch.tensor([5.0, 3.0, 1.0])
    s.shift[1, :, 1] = torch.tensor([2.0, -1.0])
    bright = torch.rand(2, 2, 16, 16, generator=torch.Generator().manual_seed(0)) + 1
    image = camera.stored(bright.clone(), s, torch.zeros(2, 2, dtype=torch.int32), False)
    assert (image[0, 1] == 0).all()
    assert torch.equal(image[0, 0], bright[0, 0])
    assert (image[1, 0, :, 5:8] == 0).all()
    assert torch.equal(image[1, 0, :, 8:], bright[1, 0, :, 8:])
    assert torch.equal(image[1, 1, :-1, 2:], bright[1, 1, 1:, :-2])


def test_choices_come_in_their_parts():
    found = choice(torch.linspace(0, 0.9999, 1000), {4: 1.0, 7: 3.0})
    assert found.unique().tolist() == [4, 7]
    assert int((found == 4).sum()) == 250


@pytest.fixture(scope="module")
def hard():
    return simulate("lens-finding-hard", 48, seed=2, settings=COUNTS)


def test_the_same_seed_gives_the_same_images_in_any_chunks(hard, monkeypatch):
    from deeplense_core.sim.galaxies import render

    monkeypatch.setitem(render.CHUNK, "cpu", 5)
    again = simulate("lens-finding-hard", 48, seed=2, settings=COUNTS)
    torch.testing.assert_close(again.images, hard.images, rtol=1e-4, atol=1e-3)
    assert torch.equal(again.labels, hard.labels)
    assert not torch.equal(simulate("lens-finding-hard", 2, seed=3).images, simulate("lens-finding-hard", 2).images)


def test_truth_is_of_the_class(hard):
    t, lens = hard.truth, hard.labels == 0
    assert torch.equal(lens, t["kind"] == LENS)
    assert torch.isnan(t["theta_E"][~lens]).all()
    assert float(t["theta_E"][lens].min()) >= 0.5
    assert float(t["theta_E"][lens].max()) <= 1.8
    assert float(t["arc_snr"][lens].min()) > 5
    assert float(t["arc_snr"][lens].max()) <= 400.01
    assert float(t["magnification"][lens].min()) > 1.5
    assert len(t["kind"].unique()) > 5
    assert 0.17 <= float(t["pixel_scale_arcsec"].min()) < float(t["pixel_scale_arcsec"].max()) <= 0.27


def test_signal_to_noise_of_arcs_is_measured_on_the_image():
    """An ideal filter on the difference that the lens's source makes finds the stated signal to noise."""
    settings = {**COUNTS, "faults": 0, "colour_scatter": 0, "grey": 0}
    labels = torch.zeros(6, dtype=torch.int64)
    strong, weak = (simulate("lens-finding-hard", 6, seed=4, labels=labels, noise=False,
                             settings={**settings, "snr_min": snr, "snr_max": snr}) for snr in (40, 20))
    arcs = strong.images - weak.images
    assert (strong.truth["arc_snr"] / weak.truth["arc_snr"]).tolist() == pytest.approx([2] * 6, rel=1e-3)
    assert (arcs.sum((2, 3)) > 0).all()
    noisy = torch.stack([simulate("lens-finding-hard", 6, seed=4, labels=labels, settings={
        **settings, "snr_min": 20, "snr_max": 20}).images - weak.images])[0]
    sigma = noisy[:, :, :6].std((2, 3))
    filtered = ((arcs / sigma[:, :, None, None]) ** 2).sum((1, 2, 3)).sqrt()
    assert (filtered > 18).all()  # with the sky alone it is a little more than with the galaxy's photons
    assert (filtered < 60).all()


def test_arcs_stand_out_from_the_galaxy_that_they_lie_upon():
    """Arcs of S/N 40 would be seen even if noise were nothing and a model of the galaxies were a tenth off."""
    settings = {**COUNTS, "faults": 0, "colour_scatter": 0, "grey": 0, "mag_min": 17.6, "mag_max": 17.6,
                "theta_E_max": 0.8}  # fmt: skip
    labels = torch.zeros(24, dtype=torch.int64)
    both, half = (simulate("lens-finding-hard", 24, seed=4, labels=labels, noise=False,
                           settings={**settings, "snr_min": snr, "snr_max": snr}) for snr in (40, 20))
    arcs = both.images - half.images  # half of those in ``both``
    galaxies = half.images - arcs
    seen = 2 * ((arcs / (0.1 * galaxies).clamp_min(1e-3)) ** 2 * (galaxies > 1)).sum((1, 2, 3)).sqrt()
    assert both.truth["arc_snr"].tolist() == pytest.approx([40] * 24, rel=1e-3)
    assert (seen > 39).all()


def test_matched_images_share_everything_but_the_class():
    batch = simulate("lens-finding-hard", 8, seed=1, matched=True)
    assert batch.labels.tolist() == [0, 1] * 4
    for name in ("main_mag", "fwhm_g", "depth_r", "pixel_scale_arcsec", "scaling", "neighbours", "extra_g_r"):
        assert torch.equal(batch.truth[name][::2], batch.truth[name][1::2]), name
        assert len(batch.truth[name][::2].unique()) > 1


def test_frames_bands_and_fractions_can_be_chosen():
    batch = simulate("lens-finding-easy", 3, settings={"n_pix": 101, "bands": "r"})
    assert batch.images.shape == (3, 1, 101, 101)
    assert recipe_info("lens-finding-easy", {"bands": "r"})["bands"] == ("r",)
    assert recipe_info("lens-finding-easy")["pixel_scale_arcsec"] == 0.17
    assert recipe_info("lens-finding-easy")["pixel_scale_range_arcsec"] is None
    assert recipe_info("lens-finding-hard")["pixel_scale_arcsec"] is None
    assert recipe_info("lens-finding-hard")["pixel_scale_range_arcsec"] == (0.17, 0.27)
    rare = torch.cat([simulate("lens-finding-easy", 1, stream=k, settings={"lens_fraction": 0.001}).labels
                      for k in range(20)])
    assert int((rare == 0).sum()) <= 1
    from deeplense_core.sim.scene import Draws

    labels = Draws(1, 100_000).labels(2, (0.001, 0.999))
    assert 60 < int((labels == 0).sum()) < 150


def test_published_sets_are_scaled_band_by_band():
    images = simulate("lens-finding-easy", 4, as_published=True).images
    assert torch.equal(images.amin((2, 3)), torch.zeros(4, 3))
    assert torch.equal(images.amax((2, 3)), torch.ones(4, 3))


@pytest.fixture(scope="module")
def hard_set(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "CHUNK", 72)
        return simulate_dataset("lens-finding-hard", 72, tmp_path_factory.mktemp("hard") / "set", seed=1)


def test_a_data_set_labels_a_part_and_keeps_the_rest_apart(hard_set):
    table = hard_set.catalog
    assert 0.1 < float((table["label"] != "").mean()) < 0.3
    assert set(table["truth_label"]) == {"lens", "nonlens"}
    told = table["label"] != ""
    assert (table["label"][told] == table["truth_label"][told]).all()
    assert set(table["truth_kind"]) <= set(KINDS)
    assert ((table["truth_kind"] == "lens") == (table["truth_label"] == "lens")).all()
    assert table["pixel_scale_arcsec"].between(0.17, 0.27).all()
    assert "truth_pixel_scale_arcsec" not in table
    assert table["feature_snr_r"].notna().mean() > 0.8
    assert not [name for name in table if not name.startswith(("truth_", "feature_"))
                and name not in ("id", "split", "label", "pixel_scale_arcsec")]


def test_the_audit_stands_images_without_labels(hard_set):
    findings = audit(hard_set)
    assert findings["duplicates"]["severity"] == "ok"
    assert findings["statistics_probe"]["severity"] == "ok"


def probe(images: np.ndarray, columns: np.ndarray, lens: np.ndarray) -> float:
    """Cross-validated AUC of a linear model on image statistics and further columns."""
    statistics = np.array([image_statistics(image) for image in images])
    values = np.nan_to_num(np.concatenate([statistics, columns], axis=1))
    model = make_pipeline(QuantileTransformer(n_quantiles=100, output_distribution="normal"),
                          LogisticRegression(C=0.1, max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(roc_auc_score(lens, cross_val_predict(model, values, lens, cv=folds, method="predict_proba")[:, 1]))


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_no_statistic_of_an_image_tells_the_class(tmp_path, seed):
    """Border, noise, extremes, total flux and colour: transfer to the sky was seen to hang on it."""
    made = simulate_dataset("lens-finding-hard", 1200, tmp_path / "set", seed=seed)
    table = made.catalog
    names = [name for name in table if name.startswith(("feature_mag_", "feature_colour_", "feature_missing_"))]
    lens = (table["truth_label"] == "lens").to_numpy()
    assert probe(made.images, table[names].to_numpy(), lens) < 0.6


def test_a_data_set_knows_the_range_of_its_pixel_scales(tmp_path):
    made = simulate_dataset("lens-finding-hard-i", 12, tmp_path / "hard", seed=3, features=False)
    scales = made.catalog["pixel_scale_arcsec"]
    assert describe(str(made.path)).scales == (scales.min(), scales.max())
    assert describe("sim:lens-finding-hard-i").scales == (0.17, 0.27)
    assert describe("sim:lens-finding-easy").scales == (0.17, 0.17)
