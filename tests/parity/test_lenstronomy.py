"""Every profile and every image against lenstronomy, over a grid of parameters."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.param_util import phi_q2_ellipticity

from deeplense_core.bench import lenstronomy_peer
from deeplense_core.errors import UserError
from deeplense_core.sim import simulate
from deeplense_core.sim.generate import recipe
from deeplense_core.sim.profiles import (
    Ellipsoid,
    PointMasses,
    Sersic,
    point_masses_deflection,
    sersic_brightness,
    shear_deflection,
    sie_convergence,
    sie_deflection,
    sis_deflection,
)
from deeplense_core.sim.render import Constants, expected_image, masses_function, point_masses
from deeplense_core.sim.scene import Draws, Optics, Scene

AXIS = (np.arange(40) - 19.5) * 0.11
X, Y = np.meshgrid(AXIS, AXIS)
DEFLECTION_ARCSEC, IMAGE_OF_PEAK = 1e-5, 1e-3
LENSES = list(itertools.product((0.3, 0.6, 0.95, 1.0), (-1.2, 0.0, 0.5, 1.5), (0.4, 1.3, 2.0)))


def tensor(value, device="cpu"):
    return torch.atleast_1d(torch.as_tensor(value, dtype=torch.float64)).to(device)


def difference(ours, theirs) -> float:
    return max(float(np.abs(a[0].cpu().numpy() - b.reshape(40, 40)).max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("q", "phi", "theta_E"), LENSES)
def test_ellipsoid_deflection_and_convergence(q, phi, theta_E, device):  # noqa: N803
    e1, e2 = phi_q2_ellipticity(phi, q)
    peer, kwargs = LensModel(["SIE"]), [{"theta_E": theta_E, "e1": e1, "e2": e2}]
    x, y = tensor(AXIS, device), tensor(AXIS, device)[:, None]
    lens = [tensor(v, device) for v in (theta_E, q, phi)]
    ours = sie_deflection(x, y, Ellipsoid.of(*lens))
    assert difference(ours, peer.alpha(X.ravel(), Y.ravel(), kwargs)) < DEFLECTION_ARCSEC
    kappa = sie_convergence(x, y, lens[0], lens[1], lens[2])
    expected = peer.kappa(X.ravel(), Y.ravel(), kwargs)
    assert difference([(kappa / kappa.max())[None]], [expected / expected.max()]) < 1e-5


def test_sphere_is_the_ellipsoid_with_equal_axes():
    x, y = tensor(AXIS), tensor(AXIS)[:, None]
    sphere = sis_deflection(x, y, tensor(1.3))
    nearly = sie_deflection(x, y, Ellipsoid.of(tensor(1.3), tensor(1.0), tensor(0.7)))
    peer = LensModel(["SIS"]).alpha(X.ravel(), Y.ravel(), [{"theta_E": 1.3}])
    assert difference([v.expand(1, 40, 40) for v in sphere], peer) < 1e-8
    assert difference(nearly, peer) < DEFLECTION_ARCSEC


@pytest.mark.parametrize(("gamma", "angle"), list(itertools.product((0.0, 0.05, 0.3), (0.0, 0.4, 1.9, 3.0))))
def test_shear_deflection(gamma, angle, device):
    g1, g2 = gamma * math.cos(2 * angle), gamma * math.sin(2 * angle)
    peer = LensModel(["SHEAR"]).alpha(X.ravel(), Y.ravel(), [{"gamma1": g1, "gamma2": g2}])
    x, y = tensor(AXIS, device), tensor(AXIS, device)[:, None]
    ours = shear_deflection(x, y, tensor(g1, device)[:, None, None], tensor(g2, device)[:, None, None])
    assert difference(ours, peer) < 1e-12


@pytest.mark.parametrize("number", [1, 2, 25, 100])
def test_point_masses_deflection(number, device):
    rng = np.random.default_rng(number)
    places, radii = rng.uniform(-2, 2, (2, number)), rng.uniform(0.001, 0.3, number)
    kwargs = [{"theta_E": t, "center_x": cx, "center_y": cy} for t, cx, cy in zip(radii, *places, strict=True)]
    peer = LensModel(["POINT_MASS"] * number).alpha(X.ravel(), Y.ravel(), kwargs)
    axis = tensor(AXIS, device)
    masses = PointMasses.of(axis, axis, *(tensor(v, device)[None] for v in (*places, radii**2)))
    assert difference(point_masses_deflection(masses), peer) < DEFLECTION_ARCSEC


@pytest.mark.parametrize(("n", "q", "phi"), list(itertools.product((0.5, 1.0, 1.5, 4.0), (0.45, 1.0), (0.0, 2.1))))
def test_sersic_brightness(n, q, phi, device):
    e1, e2 = phi_q2_ellipticity(phi, q)
    peer = LightModel(["SERSIC_ELLIPSE"]).surface_brightness(X.ravel(), Y.ravel(), [{
        "amp": 3.0, "R_sersic": 0.5, "n_sersic": n, "e1": e1, "e2": e2, "center_x": 0.1, "center_y": -0.2}])
    source = Sersic.of(*(tensor(v, device) for v in (0.1, -0.2, 0.5, n, q, phi, 3.0)))
    x, y = tensor(AXIS, device), tensor(AXIS, device)[:, None]
    assert difference([sersic_brightness(x, y, source) / peer.max()], [peer / peer.max()]) < 1e-6
    single = sersic_brightness(x.float(), y.float(), Sersic(*(v.float() for v in source)))
    assert difference([single / peer.max()], [peer / peer.max()]) < 5e-6


def lenstronomy_image(scene: Scene, i: int, optics: Optics) -> np.ndarray:
    """Noise-free image of one system, counts per second and pixel."""
    number, scale = int((scene.mass_theta_E_sq[i] > 0).sum()), optics.pixel_scale_arcsec
    s = {name: value[i].double().numpy() for name, value in scene.tensors().items()}
    e1, e2 = phi_q2_ellipticity(float(s["phi"]), float(s["q"]))
    lenses = [{"theta_E": s["theta_E"], "e1": e1, "e2": e2}, {"gamma1": s["gamma1"], "gamma2": s["gamma2"]}]
    lenses += [{"theta_E": math.sqrt(t), "center_x": x, "center_y": y} for x, y, t in zip(
        s["mass_x"][:number], s["mass_y"][:number], s["mass_theta_E_sq"][:number], strict=True)]
    e1, e2 = phi_q2_ellipticity(float(s["source_phi"]), float(s["source_q"]))
    source = {"amp": s["source_amplitude"] / scale**2, "R_sersic": s["source_R_e"], "n_sersic": s["source_n"],
              "e1": e1, "e2": e2, "center_x": s["source_x"], "center_y": s["source_y"]}
    corner = -(optics.n_pix - 1) / 2 * scale
    data = ImageData(np.zeros((optics.n_pix, optics.n_pix)), ra_at_xy_0=corner, dec_at_xy_0=corner,
                     transform_pix2angle=np.eye(2) * scale)
    psf = PSF("GAUSSIAN", fwhm=optics.psf_sigma_arcsec * math.sqrt(8 * math.log(2)),
              truncation=optics.psf_truncate_sigma, pixel_size=scale)
    model = ImageModel(data, psf, LensModel(["SIE", "SHEAR"] + ["POINT_MASS"] * number),
                       LightModel(["SERSIC_ELLIPSE"]),
                       kwargs_numerics={"supersampling_factor": optics.supersampling,
                                        "supersampling_convolution": optics.supersampling > 1})
    return model.image(lenses, [source])


@pytest.mark.parametrize(("name", "as_published"), [
    ("common-test", False), ("common-test", True), ("model-1", False), ("model-1", True), ("model-3", False)])
def test_noise_free_images(name, as_published, device):
    """Three classes of each recipe; the border is left out, where lenstronomy knows no light from outside."""
    made = recipe(name, as_published)
    scene = made.draw(Draws(11, 9), torch.arange(9) % 3, 1.0)
    worst = 0.0
    for i in range(9):
        number = int((scene.mass_theta_E_sq[i] > 0).sum())
        one = scene.mapped(lambda v, i=i, k=number: (v[i:i + 1] if v.ndim == 1 else v[i:i + 1, :k]).to(device))
        masses = point_masses(one, made.optics)
        pull = 2 * (torch.zeros((), device=device),) if masses is None else masses_function(False)(masses)
        ours = expected_image(Constants.of(one), *pull, made.optics)[0].cpu().numpy()
        theirs = lenstronomy_image(scene, i, made.optics)
        inner = slice(edge := made.optics.psf_radius, -edge)
        worst = max(worst, np.abs(ours - theirs)[inner, inner].max() / theirs.max())
    assert worst < IMAGE_OF_PEAK


@pytest.mark.filterwarnings("ignore:Cosmology is provided")
def test_published_survey_models_use_a_source_plane_they_were_not_made_for():
    """Deflections as lenstronomy scales them from its convention z = 2.5 to the source's z = 1."""
    from astropy.cosmology import FlatLambdaCDM

    made = recipe("model-2", as_published=True)
    scene = made.draw(Draws(1, 1), torch.zeros(1, dtype=torch.int64), 1.0)
    peer = LensModel(["SIE"], z_source=1.0, z_source_convention=2.5, lens_redshift_list=[0.5], z_lens=0.5,
                     multi_plane=True, cosmo=FlatLambdaCDM(H0=70, Om0=0.3))
    theirs = peer.alpha(1.1, 0.3, [{"theta_E": float(scene.theta_E), "e1": 0.1, "e2": 0.0}])
    x, y = tensor([[1.1]]), tensor([[0.3]])
    lens = Ellipsoid.of(scene.theta_E.double(), scene.q.double(), scene.phi.double())
    ours = [made.optics.deflection_scale * float(v) for v in sie_deflection(x, y, lens)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert made.optics.deflection_scale * float(scene.theta_E) == pytest.approx(0.8121, abs=1e-4)


@pytest.mark.gpu
def test_cuda_sees_the_same_sky_and_noise_as_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    a, b = simulate("common-test", 30, seed=4), simulate("common-test", 30, seed=4, device="cuda")
    assert (a.labels == b.labels.cpu()).all()
    counts = [torch.round(v.images.cpu() * (v.truth["image_max"] - v.truth["image_min"]).cpu()[:, None, None, None])
              for v in (a, b)]
    assert (counts[0] != counts[1]).float().mean() < 1e-3


def test_benches_say_it_where_lenstronomy_is_missing(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "lenstronomy"]:
        monkeypatch.setitem(sys.modules, name, None)
    lenstronomy_peer._lenstronomy_model.cache_clear()
    made, draws = recipe("common-test"), Draws(0, 1)
    scene = made.draw(draws, draws.labels(len(made.classes), made.fractions), 1.0)
    with pytest.raises(UserError, match="needs lenstronomy"):
        lenstronomy_peer.lenstronomy_system(made, scene, 0)
