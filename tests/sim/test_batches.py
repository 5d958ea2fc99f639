"""What a batch must be: deterministic, balanced, matched where asked, of the statistics that were published."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from deeplense_core.errors import UserError
from deeplense_core.sim import RECIPES, generate, recipe_info, simulate
from deeplense_core.sim.recipes.common_test import power_law


def counts_of(batch) -> torch.Tensor:
    """The images before they were scaled, (n, h, w)."""
    low, high = batch.truth["image_min"], batch.truth["image_max"]
    return batch.images[:, 0] * (high - low)[:, None, None] + low[:, None, None]


@pytest.fixture(scope="module")
def common():
    return simulate("common-test", 90, seed=5)


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("as_published", [False, True])
def test_every_recipe_makes_what_it_says(name, as_published):
    info = recipe_info(name)
    batch = simulate(name, 7, seed=1, as_published=as_published)
    assert batch.images.shape == (7, *info["shape"])
    assert batch.images.dtype == torch.float32
    assert torch.isfinite(batch.images).all()
    if "scaled to [0, 1]" in info["unit"]:
        assert (batch.images.amin((1, 2, 3)) == 0).all()
        assert (batch.images.amax((1, 2, 3)) == 1).all()
    if batch.targets is None:
        assert info["target_shape"] is info["target_pixel_scale_arcsec"] is info["scale"] is None
    assert batch.labels.dtype == torch.int64
    assert all(value.shape == (7,) for value in batch.truth.values())
    assert len(info["bands"]) == info["shape"][0]
    assert info["differences"]
    assert info["source"]


def test_recipes_are_known_by_their_names():
    assert set(RECIPES) >= {"common-test", "model-1", "model-2", "model-3"}
    assert recipe_info("common-test")["classes"] == ("no", "sphere", "vort")
    assert recipe_info("common-test")["shape"] == (1, 150, 150)
    assert recipe_info("model-2")["pixel_scale_arcsec"] == 0.101
    assert recipe_info("model-3")["shape"] == (1, 64, 64)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(common):
    again = simulate("common-test", 90, seed=5)
    assert torch.equal(common.images, again.images)
    assert torch.equal(common.labels, again.labels)
    for other in ({"seed": 6}, {"seed": 5, "stream": 1}):
        assert not torch.equal(common.images, simulate("common-test", 90, **other).images)


def test_chunks_leave_no_trace(common, monkeypatch):
    monkeypatch.setitem(generate.CHUNK, "cpu", 7)
    assert torch.equal(common.images, simulate("common-test", 90, seed=5).images)


def test_classes_are_balanced_and_in_random_order(common):
    assert torch.bincount(common.labels).tolist() == [30, 30, 30]
    assert common.labels.tolist() != sorted(common.labels.tolist())
    assert common.labels.tolist() != [0, 1, 2] * 30
    uneven = torch.bincount(simulate("model-2", 11, seed=2).labels)
    assert uneven.max() - uneven.min() <= 1


def test_labels_can_be_chosen(common):
    labels = torch.tensor([2, 0, 0, 1])
    batch = simulate("common-test", 4, labels=labels)
    assert torch.equal(batch.labels, labels)
    assert batch.truth["mass_number"].tolist() == [25, 0, 0, 25]


def test_matched_triplets_share_everything_but_the_class():
    batch = simulate("common-test", 7, seed=3, matched=True)
    assert batch.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    for name in ("theta_E", "gamma1", "gamma2", "source_x", "source_y", "source_q", "source_phi"):
        value = batch.truth[name]
        assert value[0] == value[1] == value[2]
        assert value[3] == value[4] == value[5] != value[0]
    clean = simulate("common-test", 6, seed=3, matched=True, noise=False, mass_fraction_scale=0.0)
    assert torch.equal(clean.images[0], clean.images[1])
    noisy = simulate("common-test", 6, seed=3, matched=True, mass_fraction_scale=0.0)
    assert not torch.equal(noisy.images[0], noisy.images[1])


@pytest.mark.parametrize("scale", [0.5, 1.0, 10.0])
def test_mass_scale_multiplies_the_substructure_and_nothing_else(scale):
    batch = simulate("common-test", 30, seed=8, mass_fraction_scale=scale)
    reference = simulate("common-test", 30, seed=8)
    has = batch.labels > 0
    assert torch.allclose(batch.truth["mass_fraction"][has], torch.tensor(0.02 * scale))
    assert (batch.truth["mass_fraction"][~has] == 0).all()
    assert torch.equal(batch.truth["theta_E"], reference.truth["theta_E"])
    assert torch.equal(batch.images[~has], reference.images[~has])
    assert torch.equal(batch.truth["heaviest_x"], reference.truth["heaviest_x"])


def test_common_test_has_the_published_statistics(common):
    counts = counts_of(common)
    whole = counts.round()
    assert float((counts - whole).abs().max()) < 1e-3  # integer counts
    t = common.truth
    assert 0.95 <= float(t["theta_E"].min()) < 1.05
    assert 1.55 < float(t["theta_E"].max()) <= 1.65
    assert float((t["gamma1"] ** 2 + t["gamma2"] ** 2).sqrt().max()) <= 0.3
    assert float((t["source_x"] ** 2 + t["source_y"] ** 2).sqrt().max()) <= 0.45
    assert float(t["source_q"].min()) >= 0.45
    assert float(t["source_q"].max()) <= 0.95
    clean = counts_of(simulate("common-test", 90, seed=5, noise=False))
    edge = torch.zeros(150, 150, dtype=torch.bool)
    edge[:6], edge[-6:], edge[:, :6], edge[:, -6:] = True, True, True, True
    expected, seen = clean[:, edge].double(), whole[:, edge].double()
    dark = expected < 10.5
    assert float(expected.min()) == pytest.approx(10, abs=0.05)  # the sky
    assert float(seen[dark].mean()) == pytest.approx(float(expected[dark].mean()), rel=0.01)
    assert float(((seen - expected) ** 2 / expected).mean()) == pytest.approx(1, abs=0.02)  # Poisson
    everywhere = ((whole - clean).double() ** 2 / clean.double()).mean()
    assert float(everywhere) == pytest.approx(1, abs=0.01)


def test_source_has_its_brightness_at_its_half_light_radius():
    """Without a lens, the image is the source: 100 counts at R_e, on top of the sky."""
    settings = {"theta_E_min": 0.1, "theta_E_max": 0.1, "shear_max": 0, "source_offset_max": 0, "psf_sigma": 0,
                "source_q_min": 1, "source_q_max": 1}
    clean = counts_of(simulate("common-test", 1, labels=torch.zeros(1), settings=settings, noise=False))[0] - 10
    x = (torch.arange(150) - 74.5) * 0.05
    radius = (x**2 + x[:, None] ** 2).sqrt()
    ring = (radius - 0.6).abs() < 0.02  # the sphere of 0.1 arcsec moves light out by that
    assert float(clean[ring].mean()) == pytest.approx(100, rel=0.02)


def test_published_shear_points_along_x_and_corrected_shear_anywhere():
    published = simulate("common-test", 60, seed=1, as_published=True).truth
    corrected = simulate("common-test", 60, seed=1).truth
    angle = torch.atan2(-published["gamma2"], published["gamma1"]) / 2
    assert float(angle.min()) >= 0
    assert math.degrees(float(angle.max())) <= 6.28
    assert float(corrected["gamma1"].min()) < -0.1
    assert float(corrected["gamma2"].max()) > 0.1


def test_substructure_of_the_common_test_is_where_it_should_be():
    made = generate.recipe("common-test")
    scene = made.draw(generate.Draws(1, 60), torch.arange(60) % 3, 1.0)
    radius = (scene.mass_x**2 + scene.mass_y**2).sqrt()
    sphere, vort = scene.mapped(lambda v: v[1::3]), scene.mapped(lambda v: v[2::3])
    assert float(radius[1::3].max()) <= 2.0
    assert stats.kstest(radius[1::3].flatten().numpy() / 2, "uniform").pvalue > 1e-3
    ratio = sphere.mass_theta_E_sq.amax(1) / sphere.mass_theta_E_sq.amin(1)
    assert float(ratio.min()) > 3
    assert torch.allclose(vort.mass_theta_E_sq, vort.mass_theta_E_sq[:, :1])
    first, last = (torch.stack([vort.mass_x[:, i], vort.mass_y[:, i]]) for i in (0, -1))
    assert torch.allclose((last - first).norm(dim=0), torch.ones(20), atol=1e-4)
    centre = ((first + last) / 2).norm(dim=0)
    assert float(centre.min()) >= 0.3
    assert float(centre.max()) <= 1.3
    steps = vort.mass_x.diff(dim=1) * (last - first)[1][:, None] - vort.mass_y.diff(dim=1) * (last - first)[0][:, None]
    assert float(steps.abs().max()) < 1e-4  # straight


@pytest.mark.parametrize("slope", [-0.9, -1.9])
def test_masses_follow_their_power_law(slope):
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mass = power_law(u, 1e6, 1e10, slope).numpy()
    power = slope + 1
    assert stats.kstest(mass, lambda m: (m**power - 1e6**power) / (1e10**power - 1e6**power)).pvalue > 1e-3
    assert mass.min() >= 0.999e6
    assert mass.max() <= 1.001e10


def test_published_subhalo_masses_are_the_tenth_power_of_a_uniform_number():
    u = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    a, b = 1e6**0.1, 1e10**0.1
    assert torch.allclose(power_law(u, 1e6, 1e10, -0.9), (a + (b - a) * u) ** 10)


@pytest.mark.parametrize("name", ["model-1", "model-2", "model-3"])
def test_einstein_radius_as_published_and_corrected(name):
    published = simulate(name, 3, as_published=True).truth["theta_E"]
    corrected = simulate(name, 3).truth["theta_E"]
    assert published.tolist() == pytest.approx([1.28149] * 3, abs=1e-5)
    assert corrected.tolist() == pytest.approx([1.66452] * 3, abs=1e-5)


@pytest.mark.parametrize("name", ["model-2", "model-3"])
def test_published_survey_models_are_twice_the_noise_free_model(name):
    a = simulate(name, 6, seed=2, as_published=True)
    assert torch.equal(a.images, simulate(name, 6, seed=2, as_published=True, noise=False).images)
    made = generate.recipe(name, as_published=True)
    doubled = counts_of(a)[0]
    from dataclasses import replace

    plain = replace(made, detector=replace(made.detector, kind="counts"))
    draws = generate.Draws(generate._seed(name, 2, 0), 6, share=1)
    keys, labels = draws.keys(), draws.labels(3)
    scene = replace(plain.draw(draws, labels, 1.0), exposure_s=torch.ones(6))
    images, low, high = generate.render_scenes(plain, scene, keys, torch.device("cpu"), False, False)
    single = images[0] * (high - low)[0] + low[0]
    torch.testing.assert_close(doubled, 2 * single, rtol=1e-4, atol=1e-5)


def test_a_batch_shows_its_systems_one_by_one():
    """Rendered in groups by the number of masses, with packed constants, as each alone with its own."""
    from deeplense_core.sim.render import Constants, expected_image, masses_function, point_masses

    made = generate.recipe("model-1")
    draws = generate.Draws(3, 40)
    keys, labels = draws.keys(), torch.arange(40) % 3
    scene = made.draw(draws, labels, 1.0)
    images, low, high = generate.render_scenes(made, scene, keys, torch.device("cpu"), False, False)
    for i in range(40):
        one = scene.mapped(lambda v, i=i: v[i : i + 1])
        pull = masses_function(False)(point_masses(one, made.optics))
        rate = expected_image(Constants.of(one), *pull, made.optics)[0]
        expected = scene.exposure_s[i] * (rate + made.detector.sky_rate)
        torch.testing.assert_close(images[i] * (high - low)[i] + low[i], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["model-1", "model-2", "model-3"])
def test_corrected_models_carry_the_noise_of_their_instrument(name):
    labels = torch.zeros(12, dtype=torch.int64)
    noisy, clean = (counts_of(simulate(name, 12, seed=4, labels=labels, noise=n)).double() for n in (True, False))
    made = generate.recipe(name)
    exposure = simulate(name, 12, seed=4, labels=labels).truth["exposure_s"].double()[:, None, None]
    d = made.detector
    variance = clean + d.read_noise**2 + (d.background_rms * exposure) ** 2
    assert float(((noisy - clean) ** 2 / variance).mean()) == pytest.approx(1, abs=0.02)


def test_model_1_as_published_has_shot_noise_twice():
    """Where the source is bright the variance is about twice the counts."""
    labels = torch.zeros(40, dtype=torch.int64)
    noisy, clean = (counts_of(simulate("model-1", 40, seed=4, labels=labels, as_published=True, noise=n)).double()
                    for n in (True, False))
    exposure = simulate("model-1", 40, seed=4, labels=labels, as_published=True).truth["exposure_s"][:, None, None]
    bright = clean > 150
    excess = (noisy - clean) ** 2 - (0.01 * exposure.double()) ** 2
    assert float((excess / clean)[bright].mean()) == pytest.approx(2, abs=0.1)
    assert float((noisy - noisy.round()).abs().max()) < 1e-3
    assert float(noisy.min()) == pytest.approx(0, abs=1e-3)


def test_axion_lines_are_as_long_as_their_mass_says():
    truth = simulate("model-1", 30, seed=3).truth
    mass, length = truth["log10_axion_mass_ev"], truth["vortex_half_length"]
    has = ~mass.isnan()
    assert int(has.sum()) == 10
    assert torch.allclose(length[has], 0.03 * 10 ** (-22 - mass[has]), rtol=1e-4)
    assert torch.allclose(truth["substructure_msun"][has], torch.tensor(3e10), rtol=1e-4)
    assert truth["mass_number"][has].tolist() == [100] * 10


def test_settings_change_the_recipe():
    few = simulate("common-test", 4, settings={"sky": "50"}, noise=False)
    assert counts_of(few).amin() >= 50
    with pytest.raises(UserError, match="source_n"):
        simulate("common-test", 4, settings={"source_m": 2})


@pytest.mark.parametrize(("arguments", "words"), [
    (("common-tset", 3), "Did you mean 'common-test'"), (("common-test", 0), "at least 1")])
def test_what_the_user_can_mend_is_said(arguments, words):
    with pytest.raises(UserError, match=words):
        simulate(*arguments)


def test_labels_that_do_not_fit_are_refused():
    for labels in (torch.tensor([0, 3]), torch.tensor([0])):
        with pytest.raises(UserError, match="from 0 to 2"):
            simulate("common-test", 2, labels=labels)


def test_eager_is_said_once_where_no_compiler_is_found(monkeypatch, caplog):
    generate.can_compile.cache_clear()
    monkeypatch.setattr(generate.shutil, "which", lambda _: None)
    a = simulate("common-test", 3, compiled=True)
    simulate("common-test", 3, compiled=True)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "g++" in caplog.text
    assert torch.equal(a.images, simulate("common-test", 3).images)
    generate.can_compile.cache_clear()


def test_compiled_images_are_the_eager_ones():
    """Same scenes, same noise; arithmetic in another order may move a count by one, seldom."""
    if not generate.can_compile("cpu"):
        pytest.skip("no C++ compiler")
    eager, fused = simulate("common-test", 20, seed=2), simulate("common-test", 20, seed=2, compiled=True)
    assert torch.equal(eager.labels, fused.labels)
    difference = (counts_of(eager).round() - counts_of(fused).round()).abs()
    assert float(difference.max()) <= 1
    assert float((difference > 0).float().mean()) < 1e-4
    assert np.isfinite(fused.images.numpy()).all()
