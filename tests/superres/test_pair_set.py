"""A real pair as a data set: registered, evaluated, compared; and results as files."""

import io
import json

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS

from deeplense_core.cli import main
from deeplense_core.data import Dataset, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.evaluate import evaluate, kept
from deeplense_core.evaluations.predictions import evaluations
from deeplense_core.images import LensImage
from deeplense_core.losses.pixel import matching_blur, noise_variance
from deeplense_core.metrics.superres import paired_means, summary
from deeplense_core.models.interpolation import enlarge
from deeplense_core.reading.tangent_plane import TangentPlane
from deeplense_core.sources import describe
from deeplense_core.superres import observe as observing
from deeplense_core.superres.pair_set import FWHM_PER_SIGMA, gaussian_psf, pair_lines, psf_of, psfs_of
from deeplense_core.superres.register_pair import noise_of
from deeplense_core.superres.save import fits_bytes, npy_bytes
from deeplense_core.superres.support import camera
from deeplense_core.superres.versus import Scores, difference
from deeplense_core.trained import load_model

COARSE, FINE, ZERO_POINT, LEVEL, NOISE = 0.2, 0.05, 2.5, 4.0, 0.02
COARSE_FWHM, FINE_FWHM = 0.7, 0.15


def plane(scale: float, side: int) -> TangentPlane:
    step = scale / 3600
    return TangentPlane(150.0, 2.0, (side - 1) / 2, (side - 1) / 2, ((-step, 0.0), (0.0, step)))


def blobs(grid: TangentPlane, side: int, fwhm: float, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Round galaxies, averaged over pixels: brightness, so the same at any pixel scale."""
    axis = ((np.arange(side * 5) + 0.5) / 5 - side / 2) * grid.pixel_scale_arcsec
    image = np.zeros((side * 5,) * 2)
    for x, y, width, light in ((0, 0, 0.3, 3), (1.2, 0.8, 0.15, 1), (-1.4, 0.6, 0.2, 2), (0.4, -1.6, 0.4, 3)):
        sigma2 = width**2 + (fwhm / FWHM_PER_SIGMA) ** 2
        image += light / sigma2 * np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / 2 / sigma2)
    return image.reshape(side, 5, side, 5).mean((1, 3)) + noise * rng.normal(size=(side, side))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pair"), np.random.default_rng(1)
    for name, scale, side, fwhm, factor, level in (
        ("coarse", COARSE, 40, COARSE_FWHM, ZERO_POINT, LEVEL), ("fine", FINE, 184, FINE_FWHM, 1, 0),
    ):  # fmt: skip
        grid = plane(scale, side)
        header = fits.Header.fromstring(grid.cards(), sep="\n")
        header["BUNIT"] = "nJy/arcsec2"
        pixels = factor * blobs(grid, side, fwhm, rng, NOISE) + level
        fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(folder / f"{name}.fits")
    return folder


@pytest.fixture(scope="module")
def registered(files):
    command = ["register", str(files / "coarse.fits"), str(files / "fine.fits"), "--psf-lr", str(COARSE_FWHM),
               "--psf-hr", str(FINE_FWHM), "--out", str(files / "set")]  # fmt: skip
    assert main(command) == 0
    return open_dataset(files / "set")


def test_a_pair_of_files_becomes_a_data_set(registered):
    source, row = registered.manifest["source"], registered.catalog.iloc[0]
    assert row["zero_point"] == pytest.approx(ZERO_POINT, rel=0.01)
    assert row["background"] == pytest.approx(LEVEL, abs=0.02)
    assert ZERO_POINT * NOISE < row["lr_noise"] < 2 * ZERO_POINT * NOISE, "of a field full of light"
    assert row["residual_rms"] < 1.3
    assert registered.targets is not None
    assert row["hr_noise"] == pytest.approx(noise_of(registered.targets[0, 0]), rel=1e-3), "in the coarse band's unit"
    assert registered.targets.shape[2] == 2 * registered.images.shape[2]
    # Both in one unit, so both have the same light in the same sky.
    border = 6
    low, high = registered.images[0, 0, border:-border, border:-border], registered.targets[0, 0]
    high = high[2 * border : -2 * border, 2 * border : -2 * border]
    assert high.mean() == pytest.approx(low.mean(), rel=5e-3)
    coarse, fine = (WCS(fits.Header.fromstring(source[grid], sep="\n")) for grid in ("wcs", "fine_wcs"))
    np.testing.assert_allclose(fine.pixel_to_world_values(0.5, 0.5), coarse.pixel_to_world_values(0, 0), atol=1e-9)
    words = "\n".join(pair_lines(source, registered.images.shape[1:], COARSE, 2))
    assert "nits: both in those of the coarse" in words
    assert "one zero point for galaxies of all colours" in words


def test_a_registered_pair_is_evaluated_and_compared(registered, capsys, quick_features):
    assert main(["evaluate", "edsr-x2", "--data", str(registered.path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = report["rows"]
    assert rows["edsr-x2"]["psnr"]["low"] is None, "one image has no interval"
    assert rows["edsr-x2"]["psnr"]["value"] > rows["bicubic"]["psnr"]["value"], "unit of the images not brought over"
    assert rows["bicubic"]["flux_ratio"]["value"] == pytest.approx(1, abs=0.02)
    assert rows["edsr-x2"]["reobs_chi2"]["value"] < rows["nearest"]["reobs_chi2"]["value"]
    noise = registered.catalog["hr_noise"].iloc[0]
    floor = 20 * np.log10(report["data_range"] / noise)
    assert rows["nearest"]["psnr_floor"]["value"] == pytest.approx(floor, abs=1e-4)
    compare = ["compare", "edsr-x2", "bicubic", "--data", str(registered.path), "--json"]
    assert main(compare) == 0
    assert not evaluations("bicubic"), "it is a row of the network's table: nothing to evaluate again"
    found = json.loads(capsys.readouterr().out)
    assert found["value"] == pytest.approx(rows["edsr-x2"]["psnr"]["value"] - rows["bicubic"]["psnr"]["value"])
    assert found["verdict"] == "not distinguishable", "one image decides nothing"
    text = [part for part in compare if part != "--json"]
    assert main([*text, "--metric", "ssim"]) == 0
    assert "ssim of edsr-x2 minus bicubic: +" in capsys.readouterr().out
    folder = next(path for path, report in evaluations("edsr-x2") if report["split"] == "test")
    with np.load(folder / "predictions.npz") as file:
        arrays = dict(file)
    np.savez(folder / "predictions.npz", **arrays | {"ssim": np.full_like(arrays["ssim"], np.nan)})
    assert main([*text, "--metric", "ssim"]) == 0
    assert "cannot be compared: no image has what it needs" in capsys.readouterr().out, "a traceback of format()"
    assert main([*compare, "--metric", "psnr_floor"]) == 2
    assert "the same for all" in capsys.readouterr().err


def test_an_evaluation_is_kept_for_these_weights_on_these_images_alone(registered, monkeypatch, quick_features):
    """By what the images are, not by how their folder is written; another set in its place is evaluated anew."""
    model, data = load_model("bicubic"), str(registered.path)
    assert kept(model, data, "test") is None
    report = evaluate("bicubic", data)
    monkeypatch.chdir(registered.path.parent)
    found = kept(model, registered.path.name, "test")
    assert found is not None
    assert found[1] == report
    assert kept(model, data, "all") is None
    known = registered.fingerprint
    monkeypatch.setattr(Dataset, "fingerprint", property(lambda self: known[::-1]))
    assert kept(model, data, "test") is None


def test_a_measured_kernel_and_a_measured_noise_are_what_the_maps_use(registered):
    info = describe(str(registered.path))
    blur = matching_blur({}, 0.1, info.matching_kernel)
    assert blur is not None
    assert blur.sum().item() == pytest.approx(1, abs=1e-4)
    image = torch.rand(1, 1, 12, 12)
    columns = {"lr_noise": torch.tensor([0.5]), "truth_sky": torch.tensor([9.0])}
    assert noise_variance(image, columns, "lr").unique().tolist() == [0.25]
    assert matching_blur({}, 0.1) is None
    seen, back = camera(blur, image, 2)  # <A x, y> = <x, A' y>
    other = torch.rand(1, 1, 6, 6)
    assert (seen(image) * other).sum().item() == pytest.approx((image * back(other)).sum().item(), rel=1e-4)
    seen, back = camera(torch.tensor([1.3]), image, 2)
    assert torch.allclose(seen(image), observing.observe(image, 1.3, 2), atol=1e-6)
    assert (seen(image) * other).sum().item() == pytest.approx((image * back(other)).sum().item(), rel=1e-5)


def test_what_cannot_be_registered_is_one_line(files, capsys):
    coarse = str(files / "coarse.fits")
    for psf, words in (("nothing.fits", "There is no file"), ("-1", "is none")):
        assert main(["register", coarse, str(files / "fine.fits"), "--psf-lr", psf, "--psf-hr", "0.1",
                     "--out", str(files / "no")]) == 2  # fmt: skip
        assert words in capsys.readouterr().err
    assert not (files / "no").exists()


def test_planes_of_a_psf_are_one_for_all_bands_or_one_for_each():
    coarse, fine = (LensImage(np.zeros((bands, 9, 9), np.float32), 0.1, meta={"name": "x"}) for bands in (3, 1))
    one = gaussian_psf(2.0)[None]
    for count in (1, 3):
        lr, hr = psfs_of(coarse, fine, one.repeat(count, 0), "0.2")
        assert (len(lr), hr.shape) == (count, one.shape[1:])
    with pytest.raises(UserError, match="has 2 planes and 'x' has 3 bands"):
        psfs_of(coarse, fine, one.repeat(2, 0), one)


def test_a_width_is_a_gaussian_with_the_pixel_in_it():
    psf = gaussian_psf(4.0)
    axis = np.arange(len(psf)) - len(psf) // 2
    sigma = np.sqrt((psf * axis**2).sum())
    assert sigma == pytest.approx(np.hypot(4 / FWHM_PER_SIGMA, 12**-0.5), rel=0.01)
    assert psf.sum() == pytest.approx(1)
    with pytest.raises(UserError, match="does not say its pixel scale"):
        psf_of("0.7", LensImage(np.zeros((1, 4, 4)), meta={"name": "x"}))


def scores(fingerprint: str, values, ids=("a", "b"), **facts) -> Scores:
    report = {"data": fingerprint, "data_fingerprint": fingerprint, "row_names": ["net", "bicubic"], "data_range": 5.0,
              "perceptual_weights": "x", "perceptual_images": 2, **facts}  # fmt: skip
    return Scores(report, np.array(ids), dict.fromkeys(("psnr", "flux_ratio", "perceptual"), np.array(values, float)))


def test_only_the_same_images_are_compared():
    one = scores("one", [[40, 30], [42, 30]])
    turned = scores("one", [[30, 42], [30, 40]], ids=("b", "a"))
    found = difference(one, "net", turned, "bicubic", "psnr")
    assert (found["value"], found["n"]) == (0, 2)  # matched by id, not by place
    assert difference(one, "net", one, "bicubic", "psnr")["verdict"] == "A better"
    for other, words in ((scores("two", [[1, 1], [1, 1]]), "rows of different data"),
                         (scores("one", [[1, 1], [1, 1]], ids=("a", "c")), "different images"),
                         (scores("one", [[1, 1], [1, 1]], data_range=7.0), "data range")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            difference(one, "net", other, "bicubic", "psnr")
    with pytest.raises(UserError, match="differ in perceptual weights"):
        difference(one, "net", scores("one", [[1, 1], [1, 1]], perceptual_weights="y"), "bicubic", "perceptual")
    assert difference(one, "net", scores("one", [[1, 1], [1, 1]], perceptual_weights="y"), "bicubic", "psnr")
    with pytest.raises(UserError, match="was not scored"):
        difference(one, "nett", one, "bicubic", "psnr")


def test_flux_is_best_at_one_when_compared():
    near, far = np.full(20, 1.01), np.full(20, 0.9)
    assert paired_means(near, far, "flux_ratio")["verdict"] == "A better"
    assert paired_means(far, near, "flux_ratio")["verdict"] == "B better"
    assert summary({"psnr": near, "mse": far}, 1.0)["psnr"]["low"] is not None


@pytest.mark.parametrize("per_pixel", [False, True])
def test_a_download_keeps_place_scale_and_flux(per_pixel):
    rng = np.random.default_rng(0)
    coarse = rng.random((1, 8, 10)).astype(np.float32)
    fine = enlarge(torch.from_numpy(coarse[None]), 2, "nearest")[0].numpy()
    grid = plane(0.2, 10)
    file = io.BytesIO(fits_bytes(fine, 2, "nearest", wcs=grid.cards(), coarse_scale_arcsec=0.2, unit="nJy",
                                 per_pixel=per_pixel))  # fmt: skip
    with fits.open(file) as hdus:
        header, pixels = hdus[0].header, np.array(hdus[0].data)
    assert header["PIXSCALE"] == pytest.approx(0.1)
    assert header["BUNIT"] == "nJy"
    np.testing.assert_allclose(WCS(header).pixel_to_world_values(4.5, 4.5), grid.sky(np.array(2.0), np.array(2.0)))
    area = 1 if per_pixel else 1 / 4
    assert pixels.sum() * area == pytest.approx(coarse.sum(), rel=1e-5)
    plain = fits.open(io.BytesIO(fits_bytes(fine, 2, "nearest", coarse_scale_arcsec=0.2)))[0].header
    assert plain["CDELT1"] == pytest.approx(0.1)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy_bytes(fine))), fine)
