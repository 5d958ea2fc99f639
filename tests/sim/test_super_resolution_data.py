"""Pairs: two observations of one sky, in one unit, whose noise, blur and flux are what the catalogue says."""

import math

import numpy as np
import pytest
import torch

from deeplense_core.data import open_dataset
from deeplense_core.data_writer import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.sim import RECIPES, dataset, generate, recipe_info, simulate, simulate_dataset
from deeplense_core.spec import knobs
from deeplense_core.superres.observe import (
    matching_kernel,
    matching_sigma,
    observe,
    reach,
)

GEOMETRY = {
    ("sr-pairs", 2): ((1, 75, 75), 0.10, (1, 150, 150), 0.05),
    ("sr-pairs", 4): ((1, 37, 37), 0.20, (1, 148, 148), 0.05),
    ("sr-survey", 2): ((1, 64, 64), 0.168, (1, 128, 128), 0.084),
    ("sr-survey", 4): ((1, 64, 64), 0.168, (1, 256, 256), 0.042),
}


@pytest.fixture(scope="module")
def pairs():
    """Noisy and noise-free pairs of each recipe: (name, scale) -> (noisy, clean)."""
    made = {}

    def get(name, scale):
        if (name, scale) not in made:
            count = 9 if name == "sr-pairs" else 3
            settings = {"scale": scale}
            made[name, scale] = tuple(simulate(name, count, seed=4, settings=settings, noise=n) for n in (True, False))
        return made[name, scale]

    return get


def column(batch, name):
    return batch.truth[name][:, None, None, None]


@pytest.mark.parametrize("case", GEOMETRY, ids=str)
def test_frames_and_pixels_are_those_of_the_published_sets(pairs, case):
    name, scale = case
    shape, pixel, target_shape, target_pixel = GEOMETRY[case]
    info = recipe_info(name, {"scale": scale})
    assert (info["shape"], info["target_shape"], info["scale"]) == (shape, target_shape, scale)
    assert info["pixel_scale_arcsec"] == pytest.approx(pixel)
    assert info["target_pixel_scale_arcsec"] == pytest.approx(target_pixel)
    noisy, clean = pairs(*case)
    for batch in (noisy, clean):
        assert batch.images.shape[1:] == shape
        assert batch.targets is not None
        assert batch.targets.shape[1:] == target_shape
        assert batch.images.dtype == batch.targets.dtype == torch.float32
    wanted = {"lr_psf_sigma", "hr_psf_sigma", "lr_counts_per_unit", "hr_counts_per_unit", "sky"}
    assert wanted <= set(noisy.truth)
    assert not {"image_min", "image_max"} & set(noisy.truth)


@pytest.mark.parametrize("case", GEOMETRY, ids=str)
def test_noise_is_what_the_catalogue_says(pairs, case):
    noisy, clean = pairs(*case)
    excess = []
    for seen, expected, which in ((noisy.images, clean.images, "lr"), (noisy.targets, clean.targets, "hr")):
        per_unit = column(noisy, f"{which}_counts_per_unit")
        counts = ((seen + column(noisy, "sky")) * per_unit).double()
        if float(counts.max()) < 1e5:  # beyond, float32 brightness no longer tells one count
            assert float((counts - counts.round()).abs().max()) < 0.02
        pull = (seen - expected).double() / ((expected + column(noisy, "sky")) / per_unit).double().sqrt()
        assert float(pull.var()) == pytest.approx(1, abs=0.03)
        assert float(pull.mean()) == pytest.approx(0, abs=0.03)
        excess.append(pull)
    s = noisy.targets.shape[-1] // noisy.images.shape[-1]
    lr, hr = excess[0], torch.nn.functional.avg_pool2d(excess[1], s)
    in_order = excess[1].flatten(1)[:, : lr[0].numel()]  # random numbers come by the number of a pixel
    for other in (hr, in_order):  # the two exposures have nothing in common
        assert abs(np.corrcoef(lr.flatten(), other.flatten())[0, 1]) < 5 / math.sqrt(lr.numel())


@pytest.mark.parametrize("case", GEOMETRY, ids=str)
def test_a_fine_image_put_back_through_the_coarse_camera_is_the_coarse_image(pairs, case):
    clean, (name, scale) = pairs(*case)[1], case
    pixel = recipe_info(name, {"scale": scale})["target_pixel_scale_arcsec"]
    sigma = matching_sigma(clean.truth["lr_psf_sigma"], clean.truth["hr_psf_sigma"]) / pixel
    again = observe(clean.targets, sigma, scale)
    edge = reach(sigma, scale)
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    noise = ((clean.images + column(clean, "sky")) / column(clean, "lr_counts_per_unit")).sqrt()
    assert float(((again - clean.images) / noise)[inner].abs().max()) < 0.02
    binned = torch.nn.functional.avg_pool2d(clean.targets, scale)
    assert float(((binned - clean.images) / noise)[inner].abs().max()) > 1  # no mere binning


@pytest.mark.parametrize("case", GEOMETRY, ids=str)
def test_flux_is_the_same_at_both_scales(pairs, case):
    clean, (name, scale) = pairs(*case)[1], case
    info = recipe_info(name, {"scale": scale})
    coarse = clean.images.double().sum((1, 2, 3)) * info["pixel_scale_arcsec"] ** 2
    fine = clean.targets.double().sum((1, 2, 3)) * info["target_pixel_scale_arcsec"] ** 2
    np.testing.assert_allclose(coarse, fine, rtol=5e-3)  # a little leaves the frame


def correlation(batch, scale):
    binned = torch.nn.functional.avg_pool2d(batch.targets, scale)
    return np.median([np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(batch.images, binned, strict=True)])


def test_as_published_the_images_correlate_as_published(pairs):
    published = simulate("sr-pairs", 60, seed=1, as_published=True)
    assert correlation(published, 2) == pytest.approx(0.88, abs=0.02)
    assert 0.98 < correlation(pairs("sr-pairs", 2)[0], 2) < 0.999


def test_the_sky_is_that_of_the_common_test(pairs):
    """Same knobs, same settings; and the fine image is the common-test image, but for the tail of its kernel."""
    assert set(knobs(RECIPES["common-test"].config)) < set(knobs(RECIPES["sr-pairs"].config))
    assert recipe_info("sr-pairs")["classes"] == recipe_info("common-test")["classes"]
    made, pair = generate.recipe("common-test"), generate.recipe("sr-pairs")
    draws = [generate.Draws(5, 6) for _ in range(2)]
    labels = torch.arange(6) % 3
    keys = draws[0].keys(), draws[1].keys()
    scenes = [r.draw(d, labels, 1.0) for r, d in zip((made, pair), draws, strict=True)]
    assert torch.equal(scenes[0].mass_x, scenes[1].mass_x)
    cpu = torch.device("cpu")
    unit, low, high = generate.render_scenes(made, scenes[0], keys[0], cpu, False, False)
    _, fine = generate.render_scenes(pair, scenes[1], keys[1], cpu, False, False)
    counts = unit * (high - low)[:, None, None] + low[:, None, None]
    np.testing.assert_allclose(fine + 10, counts, rtol=2e-2, atol=0.05)
    sources = simulate("sr-pairs", 6, seed=1, settings={"sky": 50, "hr_depth": 4, "lr_depth": 0.5}).truth
    assert sources["sky"].tolist() == [50] * 6
    assert sources["hr_counts_per_unit"].tolist() == [4] * 6
    assert sources["lr_counts_per_unit"].tolist() == [2] * 6


def test_survey_conditions_vary_and_are_in_the_catalogue():
    truth = simulate("sr-survey", 6, seed=2).truth
    fwhm = truth["lr_psf_sigma"] * math.sqrt(8 * math.log(2))
    assert torch.allclose(fwhm, truth["seeing_fwhm"], rtol=1e-4)
    assert 0.6 <= float(fwhm.min()) < float(fwhm.max()) <= 0.8
    for name in ("sky", "lr_counts_per_unit", "lens_amplitude", "lens_R_e", "source_mag", "theta_E"):
        assert len(truth[name].unique()) == 6, name


def test_a_lens_of_known_magnitude_has_that_light():
    """Without a source, what the fine camera counts is the lens galaxy's magnitude."""
    settings = {"lens_mag_min": 19, "lens_mag_max": 19, "source_mag_min": 30, "source_mag_max": 30}
    clean = simulate("sr-survey", 2, seed=1, settings=settings, noise=False)
    counts = clean.targets.double().sum((1, 2, 3))
    wanted = 2028 * 10 ** (0.4 * (25.94 - 19))
    assert (counts < wanted).all()  # wings leave the frame
    assert (counts > 0.88 * wanted).all()


def test_matched_pairs_share_all_but_the_class():
    batch = simulate("sr-pairs", 6, seed=3, matched=True, mass_fraction_scale=0.0, noise=False)
    assert batch.targets is not None
    assert torch.equal(batch.targets[0], batch.targets[1])
    assert not torch.equal(batch.targets[0], batch.targets[3])


def test_chunks_leave_no_trace_in_pairs(pairs, monkeypatch):
    monkeypatch.setitem(generate.CHUNK, "cpu", 2)
    noisy = pairs("sr-pairs", 2)[0]
    again = simulate("sr-pairs", 9, seed=4, settings={"scale": 2})
    assert torch.equal(noisy.labels, again.labels)
    for a, b in ((noisy.images, again.images), (noisy.targets, again.targets)):
        assert float((a != b).float().mean()) < 1e-4  # matrices of another size may round otherwise


@pytest.mark.long
@pytest.mark.parametrize("name", ["sr-pairs", "sr-survey"])
def test_compiled_pairs_are_the_eager_ones(name):
    if not generate.can_compile("cpu"):
        pytest.skip("no C++ compiler")
    eager, fused = simulate(name, 9, seed=2), simulate(name, 9, seed=2, compiled=True)
    for which in ("images", "targets"):
        a, b = getattr(eager, which), getattr(fused, which)
        assert float((a - b).abs().max()) <= 1 / float(eager.truth["hr_counts_per_unit"].min()) + 1e-2 * float(a.max())
        assert float(((a - b).abs() > 1e-3 * a.abs() + 0.01).float().mean()) < 1e-3


# --- on disk


def test_a_data_set_of_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK", 12)
    longer = simulate_dataset("sr-pairs", 20, tmp_path / "long", seed=3, settings={"scale": 4})
    shorter = simulate_dataset("sr-pairs", 8, tmp_path / "short", seed=3, settings={"scale": 4})
    assert longer.target_shape == (1, 148, 148)
    assert longer.target_pixel_scale_arcsec == 0.05
    assert longer.pixel_scale_arcsec == pytest.approx(0.2)
    assert longer.targets is not None
    assert longer.targets.shape == (20, 1, 148, 148)
    assert np.array_equal(longer.targets[:8], shorter.targets)
    assert np.array_equal(longer.images[:8], shorter.images)
    assert "16 (coarse) counts" in longer.manifest["source"]["text"]
    assert longer.truth("lr_psf_sigma")[0] == pytest.approx(0.3)
    again = simulate_dataset("sr-pairs", 8, tmp_path / "again", seed=3, settings={"scale": 4})
    assert again.fingerprint == shorter.fingerprint != longer.fingerprint
    assert open_dataset(shorter.path).manifest["hashes"]["targets"] == shorter.manifest["hashes"]["targets"]


@pytest.fixture
def small(tmp_path):
    """A writer of pairs of 1 x 1 and 2 x 2 pixels."""
    return lambda name: DatasetWriter(tmp_path / name, classes=("a",), shape=(1, 1, 1), source={},
                                      target_shape=(1, 2, 2), target_pixel_scale_arcsec=0.5)  # fmt: skip


def test_targets_count_in_hashes_and_sizes(small):
    rng = np.random.default_rng(0)
    images, fine = rng.random((5, 1, 1, 1)), rng.random((5, 1, 2, 2))
    prints = []
    for name, targets in (("x", fine), ("y", fine), ("z", fine + 1)):
        with small(name) as writer:
            writer.append(images[:2], {"label": ["a"] * 2}, targets[:2])
            writer.append(images[2:], {"label": ["a"] * 3}, targets[2:])
            made = writer.finish()
        np.testing.assert_array_equal(made.targets, targets.astype(np.float32))
        prints.append(made.fingerprint)
    assert prints[0] == prints[1] != prints[2]
    path = made.path / "targets.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"targets\.npy has .* bytes where"):
        open_dataset(made.path)
    path.unlink()
    with pytest.raises(UserError, match=r"targets\.npy is missing"):
        open_dataset(made.path)


def test_targets_that_do_not_fit_are_refused(small, tmp_path):
    one, two = np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 2, 2))
    for name, arguments, kind, words in (
        ("a", (one, {"label": ["a"]}), ValueError, "images and targets"),
        ("b", (one, {"label": ["a"]}, one), UserError, "Targets of shape"),
        ("c", (one, {"label": ["a"]}, two * np.nan), UserError, "Target 0 has NaN"),
        ("d", (one, {"label": ["a"]}, np.zeros((2, 1, 2, 2))), ValueError, "2 targets for 1"),
    ):
        with pytest.raises(kind, match=words), small(name) as writer:
            writer.append(*arguments)
    plain = DatasetWriter(tmp_path / "e", classes=("a",), shape=(1, 1, 1), source={})
    with pytest.raises(ValueError, match="takes images, not"), plain as writer:
        writer.append(one, {"label": ["a"]}, two)
    assert not list(tmp_path.iterdir())


# --- observing


@pytest.mark.parametrize(("scale", "sigma"), [(1, 2.0), (2, 1.3), (4, 3.0), (2, 0.0)])
def test_observing_keeps_flux_and_is_a_blur_and_a_mean(scale, sigma):
    sky = torch.zeros(2, 1, 64, 48, dtype=torch.float64)
    sky[0, 0, 30, 20], sky[1, 0, 28:34, 22] = 7.0, 2.0
    seen = observe(sky, sigma, scale)
    assert seen.shape == (2, 1, 64 // scale, 48 // scale)
    np.testing.assert_allclose(seen.sum((1, 2, 3)) * scale**2, sky.sum((1, 2, 3)), rtol=1e-6)
    axis = np.arange(-16, 17)
    taps = np.exp(-0.5 * (axis / max(sigma, 1e-3)) ** 2)
    kernel = torch.from_numpy(np.outer(taps, taps) / taps.sum() ** 2)
    np.testing.assert_allclose(seen, observe(sky, kernel, scale), atol=2e-3 * float(seen.max()))
    by_image = observe(sky, torch.tensor([sigma, sigma], dtype=torch.float64), scale)
    np.testing.assert_allclose(seen, by_image, atol=1e-12)


def test_every_image_has_its_own_blur():
    sky = torch.zeros(2, 1, 40, 40)
    sky[:, 0, 20, 20] = 1
    seen = observe(sky, torch.tensor([1.0, 3.0]), 2)
    assert torch.allclose(seen[:1], observe(sky[:1], 1.0, 2), atol=1e-6)
    assert torch.allclose(seen[1:], observe(sky[1:], 3.0, 2), atol=2e-5)
    kernels = torch.zeros(2, 3, 3)
    kernels[0, 1, 1], kernels[1, 0, 2] = 1, 1  # a step up in row, and to the right
    moved = observe(sky, kernels, 1)
    assert torch.allclose(moved[0], sky[0], atol=1e-6)
    assert moved[1, 0].argmax() == 19 * 40 + 21


def test_beyond_the_frame_the_sky_goes_on():
    flat = torch.full((1, 2, 12, 16), 5.0)
    for psf in (2.0, torch.full((7, 7), 1 / 49)):
        assert torch.allclose(observe(flat, psf, 2), torch.full((1, 2, 6, 8), 5.0), atol=1e-5)


def test_observing_is_differentiable():
    sky = torch.rand(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    kernel = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for psf in (0.7, kernel):
        assert torch.autograd.gradcheck(lambda x, p=psf: observe(x, p, 2), (sky,))


def test_gaussians_are_matched_by_the_difference_of_their_squares():
    assert matching_sigma(0.5, 0.3) == pytest.approx(0.4)
    both = matching_sigma(torch.tensor([5.0, 13.0]), torch.tensor([3.0, 5.0]))
    assert torch.allclose(both, torch.tensor([4.0, 12.0]))
    with pytest.raises(UserError, match="exchanged"):
        matching_sigma(0.1, 0.3)
    assert reach(2.0, 2) == 4
    assert reach(torch.full((9, 9), 1 / 81), 2) == 3  # 4 fine pixels: 2 binned ones, and one that is cut


def gaussian_image(sigma, side):
    axis = np.arange(side) - side // 2
    one = np.exp(-0.5 * (axis / sigma) ** 2)
    return np.outer(one, one) / one.sum() ** 2


def test_a_matching_kernel_of_gaussians_is_a_gaussian():
    kernel = matching_kernel(gaussian_image(3.0, 41), gaussian_image(1.2, 31))
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, gaussian_image(math.sqrt(9 - 1.44), 41), atol=2e-3 * kernel.max())


@pytest.mark.parametrize("scale", [2, 4])
def test_a_matching_kernel_leaves_the_pixel_to_the_binning(scale):
    """A coarse point-spread function as measured has its pixel in it; with binning, the result is the same."""
    axis = np.arange(61) - 30
    one = sum(np.exp(-0.5 * ((axis + d - (scale - 1) / 2) / 3.0) ** 2) for d in range(scale))
    lr_psf = np.outer(one, one) / one.sum() ** 2
    kernel = matching_kernel(lr_psf, gaussian_image(1.2, 31), scale)
    np.testing.assert_allclose(kernel, gaussian_image(math.sqrt(9 - 1.44), 61), atol=3e-3 * kernel.max())


def test_a_matching_kernel_stands_noise_in_the_psfs():
    rng = np.random.default_rng(0)
    lr, hr = (gaussian_image(s, 41) for s in (3.0, 1.2))
    noisy = [p + 1e-4 * p.max() * rng.normal(size=p.shape) for p in (lr, hr)]
    kernel = torch.from_numpy(matching_kernel(*noisy, regularisation=1e-4))
    seen = observe(torch.from_numpy(hr)[None, None], kernel, 1)[0, 0].numpy()
    assert np.abs(seen - lr).max() < 0.02 * lr.max()


@pytest.mark.parametrize(("call", "words"), [
    (lambda: observe(torch.zeros(1, 1, 9, 8), 1.0, 2), "9 x 8 pixels cannot be binned by 2"),
    (lambda: observe(torch.zeros(1, 1, 8, 8), torch.ones(4, 4), 2), "no middle pixel"),
    (lambda: matching_kernel(np.ones((4, 4)), np.ones((3, 3))), "no middle pixel"),
    (lambda: matching_kernel(np.zeros((3, 3)), np.ones((3, 3))), "must have light"),
    (lambda: simulate("sr-pairs", 1, settings={"scale": 3}), "scale"),
])
def test_what_cannot_be_observed_is_one_message(call, words):
    with pytest.raises(UserError, match=words):
        call()
