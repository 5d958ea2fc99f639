"""Super-resolution: metrics equal scikit-image's, tiles leave no seam, coordinates stay, averaging is equivariant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deeplense_core.augment import d4
from deeplense_core.bench.superres import PlainEdsr
from deeplense_core.losses.adversarial import discriminator_accuracy, discriminator_loss, frozen, generator_loss
from deeplense_core.losses.pixel import matching_blur, pixel_loss, reobservation_chi2
from deeplense_core.metrics import superres as metrics
from deeplense_core.models import build_model
from deeplense_core.models.esrgan import Discriminator
from deeplense_core.models.interpolation import KERNELS, enlarge
from deeplense_core.sim import simulate
from deeplense_core.superres.enhance import enhance, in_unit
from deeplense_core.superres.enhance_files import enhance_files, finer_header, tiles
from deeplense_core.tasks.superres_scores import one_image
from deeplense_core.trained import load_model

SMALL = {"srcnn": {"width": 4, "narrow": 4}, "edsr": {"width": 4, "blocks": 1}, "esrgan": {"width": 4, "growth": 4},
         "rcan": {"width": 8, "groups": 1, "blocks": 1, "window": 7},
         "cascade:srcnn+edsr": {"first_width": 4, "first_narrow": 4, "second_width": 4, "second_blocks": 1}}


def small(name: str, scale: int = 2) -> torch.nn.Module:
    torch.manual_seed(0)
    net = build_model(name, SMALL[name], in_channels=1, scale=scale, unit=10.0)
    for parameter in net.parameters():  # last layers start at zero: then only bicubic would be tested
        torch.nn.init.normal_(parameter, 0, 0.1)
    return net.eval()


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", SMALL)
def test_networks_learn_enlarge_and_agree_on_tiles(name, scale):
    net, images = small(name, scale), 10 * torch.rand(1, 1, 48, 60)
    out = net(images)
    assert out.shape == (1, 1, 48 * scale, 60 * scale)
    out.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    whole, joined = out.detach().numpy(), np.zeros(out.shape, np.float32)
    for (rows, columns), tile in tiles(net, images.numpy(), False, side=20):
        joined[..., rows, columns] = tile
    assert np.abs(joined - whole).max() < 1e-4 * np.abs(whole).max()


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_no_pixel_is_seen_beyond_the_reach(name, scale):
    """Weak influence from afar is lost among the rounding of tiles; on a blank image a very bright pixel shows it."""
    net, blank, dot = small(name, scale), torch.zeros(1, 1, 61, 61), torch.zeros(1, 1, 61, 61)
    dot[..., 30, 30] = 1e8
    with torch.no_grad():
        changed = (net(dot) != net(blank))[0, 0].nonzero() // scale - 30
    assert 3 <= int(changed.abs().max()) <= net.reach  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize("name", SMALL)
def test_bicubic_is_not_rounded_where_training_is_in_bfloat16(name):
    """Three digits are fewer than noise leaves of a bright pixel: 7 of 800 were lost."""
    net = build_model(name, SMALL[name], in_channels=1, scale=2, unit=10.0).eval()  # as it starts: bicubic
    images = 800 * torch.rand(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        made = net(images)
    assert made.dtype == torch.float32
    assert (made - enlarge(images, 2)).abs().max() < 1e-3


def test_the_peer_of_the_bench_is_the_same_network():
    net, images = load_model("edsr-x2").net, 100 * torch.rand(2, 1, 20, 24)
    with torch.no_grad():
        assert torch.allclose(PlainEdsr(net)(images), net(images), atol=1e-3)


def test_averaging_is_equivariant():
    net, images = small("edsr"), torch.rand(1, 1, 12, 12)
    base = enhance(net, images, True)
    assert (enhance(net, d4(images, 5), False) - d4(enhance(net, images, False), 5)).abs().max() > 1e-4
    assert torch.allclose(enhance(net, torch.cat([images] * 200), True)[-1:], base, atol=1e-5)  # a few at a time
    bicubic = load_model("bicubic").net  # which is equivariant by itself: its average is what it makes
    torch.testing.assert_close(enhance(bicubic, images, True), enhance(bicubic, images, False))
    for element in range(8):
        assert (enhance(net, d4(images, element), True) - d4(base, element)).abs().max() < 1e-5


@pytest.mark.parametrize("name", KERNELS)
def test_interpolation_keeps_brightness(name):
    assert torch.allclose(enlarge(torch.full((1, 1, 9, 9), 3.0), 4, name), torch.tensor(3.0))
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    if name in ("bilinear", "bicubic"):
        there = (torch.arange(32) + 0.5) / 2 - 0.5
        assert torch.allclose(enlarge(ramp, 2, name)[0, 0, 16, 6:-6], there[6:-6], atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", KERNELS)
def test_interpolation_is_that_of_pillow(name, scale):
    """Away from the border, where Pillow shortens its kernel and we repeat the last pixel."""
    pixels = np.random.default_rng(0).normal(5, 2, (17, 21)).astype(np.float32)
    method = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
              "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}[name]
    theirs = np.asarray(Image.fromarray(pixels).resize((21 * scale, 17 * scale), method))
    ours = enlarge(torch.from_numpy(pixels)[None, None], scale, name)[0, 0].numpy()
    border = 3 * scale
    inner = (slice(border, -border),) * 2
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=2e-5)
    if name in ("nearest", "bilinear"):  # those are torch's to the last pixel
        more = {} if name == "nearest" else {"align_corners": False}
        torchs = torch.nn.functional.interpolate(torch.from_numpy(pixels)[None, None], scale_factor=scale, mode=name,
                                                 **more)[0, 0]  # fmt: skip
        np.testing.assert_allclose(ours, torchs, atol=2e-5)


def test_metrics_equal_scikit_image():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(5, 2, (3, 1, 30, 34)).astype(np.float32) for _ in range(2))
    psnr, ssim = metrics.psnr(metrics.mse(a, b), 9.0), metrics.ssim(a, b, 9.0)
    for i in range(3):
        observed, made = b[i, 0].astype(float), a[i, 0].astype(float)
        assert psnr[i] == pytest.approx(peak_signal_noise_ratio(observed, made, data_range=9.0), abs=1e-6)
        theirs = structural_similarity(observed, made, data_range=9.0, sigma=1.5, gaussian_weights=True,
                                       use_sample_covariance=False)
        assert ssim[i] == pytest.approx(theirs, abs=1e-6)
    with pytest.raises(ArithmeticError, match="below the PSNR"):
        metrics.check_jensen(41.97, 42.24)


def ring(radius_arcsec: float, x: float = 0.0, side: int = 120, arcsec: float = 0.05) -> np.ndarray:
    """A thin ring about a place beside the middle, and a lens galaxy within, float32 (1, side, side)."""
    axis = (np.arange(side) - (side - 1) / 2) * arcsec
    radius = np.hypot(axis - x, axis[:, None])
    light = 200 * np.exp(-((radius - radius_arcsec) ** 2) / 0.01) + 20_000 * np.exp(-(radius**2) / 0.01)
    return light[None].astype(np.float32)


def test_places_are_measured_in_arcsec_and_light_in_light():
    """A ring moved by 0.1 arcsec, one that is 0.2 arcsec larger, and one of 9 tenths of the light."""
    observed, low = ring(1.0), np.zeros((1, 60, 60), np.float32)
    said = [one_image(made, low, observed, {"hr_noise": 1.0}, 2, 0.05, 500.0)
            for made in (ring(1.0, x=0.1), ring(1.2), 0.9 * observed, observed)]  # fmt: skip
    assert said[0]["centroid_shift"] == pytest.approx(0.1, rel=0.1)
    assert said[1]["einstein_radius_error"] == pytest.approx(0.2, rel=0.2), "the lens galaxy is left out"
    assert said[1]["centroid_shift"] < 1e-3
    assert said[2]["flux_ratio"] == pytest.approx(0.9)
    assert said[2]["einstein_radius_error"] == pytest.approx(0, abs=1e-4)
    assert said[3]["psnr_floor"] == pytest.approx(20 * np.log10(500.0))
    # Most of the frame is blank, and where nothing is nothing is wrong: arcs alone are judged more harshly.
    assert said[2]["arc_psnr"] < said[2]["psnr"] - 2


def test_the_true_sky_has_a_chi_squared_of_one():
    """The noise-free fine image through the coarse camera against the coarse image, whose noise is its own."""
    noisy, clean = (simulate("sr-pairs", 6, seed=5, noise=noise) for noise in (True, False))
    columns = {f"truth_{name}": value.float() for name, value in noisy.truth.items()}
    blur = matching_blur(columns, 0.05)
    assert clean.targets is not None
    assert blur is not None
    found = reobservation_chi2(clean.targets, noisy.images, columns, 2, blur)
    assert found.mean() == pytest.approx(1, abs=0.02)
    worse = reobservation_chi2(enlarge(noisy.images, 2), noisy.images, columns, 2, blur)
    assert (worse > found + 0.3).all()


def test_pixel_losses_are_in_their_units():
    made, wanted = torch.full((2, 1, 4, 4), 7.0), torch.full((2, 1, 4, 4), 3.0)
    assert pixel_loss("l1", made, wanted, None, 2.0) == 2
    assert pixel_loss("mse", made, wanted, None, 2.0) == 4
    assert pixel_loss("chi2", made, wanted, torch.full_like(made, 8.0), 2.0) == 2


def test_relativistic_losses_and_no_gradient_leaks():
    real, made = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    s = torch.sigmoid
    paper = -s(real - made.mean()).log().mean() - (1 - s(made - real.mean())).log().mean()
    assert torch.allclose(discriminator_loss(real, made), paper)
    assert torch.allclose(generator_loss(real, made), discriminator_loss(made, real))
    assert discriminator_accuracy(real, made) == 1
    assert discriminator_accuracy(made, real) == 0
    assert discriminator_accuracy(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 4.0])) == 0.25
    judge, image = Discriminator(1, 4), torch.rand(2, 1, 16, 16, requires_grad=True)
    with frozen(judge):
        generator_loss(judge(torch.rand(2, 1, 16, 16)), judge(image)).backward()
    assert image.grad is not None
    assert all(p.grad is None for p in judge.parameters())
    assert all(p.requires_grad for p in judge.parameters())


def test_a_large_file_has_no_seams(tmp_path):
    """Through tiles as a whole survey image goes, against the whole at once: far below the noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :280]
    noise = 1.5
    pixels = 200 * np.exp(-((np.hypot(x % 70 - 35, y % 70 - 35) - 16) ** 2) / 8) + rng.normal(0, noise, x.shape)
    fits.PrimaryHDU(pixels.astype(np.float32)).writeto(tmp_path / "wide.fits")
    model = load_model("edsr-x2")
    made = enhance_files(model, [tmp_path / "wide.fits"], tmp_path / "fine.fits")  # tiles of 256: 2 x 2 of them
    assert not made.failed
    fine = np.asarray(fits.getdata(tmp_path / "fine.fits"))
    assert fine.shape == (600, 560)
    once = in_unit(model.net, torch.from_numpy(pixels.astype(np.float32))[None, None], False, model.card["noise"])
    off = np.abs(fine - once[0, 0].numpy())
    assert off.max() < 1e-2 * noise
    assert fine.std() > 10


@pytest.mark.parametrize("scale", [2, 4])
def test_every_place_on_the_sky_is_kept(scale):
    old = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 30.2,
                       "CRPIX2": 11.0, "CD1_1": -4e-5, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": 4e-5})
    x, y = np.array([0.0, 12.3]), np.array([5.0, 40.1])
    there = WCS(finer_header(old, scale, "bicubic")).pixel_to_world_values(
        scale * (x + 0.5) - 0.5, scale * (y + 0.5) - 0.5)
    assert np.allclose(there, WCS(old).pixel_to_world_values(x, y), atol=1e-11)


@pytest.mark.parametrize("cards", [
    {"CRPIX1": 30.2, "CRPIX2": 11.0, "CDELT1": -1e-4, "CDELT2": 1e-4, "PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6,
     "PC2_2": 0.8},
    {"CRPIX1": 30.2, "CDELT1": -1e-4, "CDELT2": 1e-4},
    {"CRPIX1": 30.2, "CRPIX2": 11.0, "PC1_1": -1e-4, "PC2_2": 1e-4},
    {"CRPIX1": 30.2, "CRPIX2": 11.0, "CD1_1": -4e-5, "CD2_2": 4e-5, "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-4,
     "A_1_1": 1e-4, "B_0_2": -2e-4, "B_1_0": 1e-3},
], ids=["turned", "no second reference pixel", "no step", "distorted"])  # fmt: skip
def test_every_kind_of_coordinates_is_kept(cards):
    kind = "-SIP" if "A_ORDER" in cards else ""
    place = {"CTYPE1": f"RA---TAN{kind}", "CTYPE2": f"DEC--TAN{kind}", "CRVAL1": 150.0, "CRVAL2": 2.0}
    old = fits.Header(place | cards)
    x, y = np.array([0.0, 12.3, 41.0]), np.array([5.0, 40.1, 3.0])
    there = WCS(finer_header(old, 3, "bicubic")).all_pix2world(3 * (x + 0.5) - 0.5, 3 * (y + 0.5) - 0.5, 0)
    np.testing.assert_allclose(there, WCS(old).all_pix2world(x, y, 0), atol=1e-10)


def test_what_else_a_header_says_of_pixels_is_that_of_finer_ones():
    old = fits.Header({"PIXSCALE": 0.2, "PIXAR_A2": 0.04, "PIXAR_SR": 8e-13, "LTV1": -7.0, "LTM1_1": 0.5, "GAIN": 2})
    fine = finer_header(old, 2, "bicubic")
    assert fine["PIXSCALE"] == pytest.approx(0.1)
    assert fine["PIXAR_A2"] == pytest.approx(0.01)
    assert fine["PIXAR_SR"] == pytest.approx(2e-13)
    # Physical pixels p lie at LTM p + LTV of the image.
    there = fine["LTM1_1"] * 30.0 + fine["LTV1"]
    assert there == pytest.approx(2 * (0.5 * 30.0 - 7.0 - 0.5) + 0.5)
    assert fine["GAIN"] == 2


def test_every_card_but_the_layout_of_the_old_file_is_kept(tmp_path):
    """Zero points (``ZEROPNT``, ``ZP``) were lost as cards of compression; one that breaks the standard ended it."""
    header = fits.Header({"ZEROPNT": 25.0, "ZP": 27.0, "OBSERVER": "i", "CHECKSUM": "x"})
    pixels = np.random.default_rng(0).random((20, 20), np.float32)
    packed = fits.CompImageHDU(pixels, header, name="IMG")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "packed.fits")
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "odd.fits")
    raw = (tmp_path / "odd.fits").read_bytes()
    (tmp_path / "odd.fits").write_bytes(raw.replace(b"OBSERVER= 'i       '", b"OBSERVER= i am no   "))
    made = enhance_files(load_model("bicubic"), [tmp_path / "odd.fits", tmp_path / "packed.fits"], tmp_path / "fine")
    assert not made.failed
    odd, unpacked = (fits.getheader(path) for path in made.written)
    for found in (odd, unpacked):
        assert (found["ZEROPNT"], found["ZP"]) == (25.0, 27.0)
        assert not {"CHECKSUM", "EXTNAME", "ZIMAGE", "ZBITPIX"} & set(found)
    assert "OBSERVER" not in odd
    assert unpacked["OBSERVER"] == "i"


def test_two_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    """The result of a picture and of an array by one name is one NPY file: the second was written over the first."""
    pixels = np.random.default_rng(0).integers(1, 200, (32, 32), np.uint8)
    np.save(tmp_path / "sky.npy", pixels.astype(np.float32))
    Image.fromarray(255 - pixels).save(tmp_path / "sky.png")
    made = enhance_files(load_model("bicubic"), [tmp_path / "sky.npy", tmp_path / "sky.png"], tmp_path / "fine")
    assert [path.name for path in made.written] == ["sky_x2.npy"]
    assert [path.name for path, why in made.failed if "'sky_x2.npy', made of another file" in why] == ["sky.png"]
    assert np.load(tmp_path / "fine" / "sky_x2.npy").mean() == pytest.approx(pixels.mean(), rel=0.05)
