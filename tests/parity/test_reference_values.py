"""Numbers published in the tests of lenstronomy and PyAutoGalaxy, and of DeepLenseSim's mass formula."""

import math

import pytest
import torch

from deeplense_core.sim.profiles import (
    Ellipsoid,
    PointMasses,
    Sersic,
    einstein_radius_arcsec,
    point_masses_deflection,
    sersic_amplitude,
    sersic_brightness,
    shear_deflection,
    sie_convergence,
    sie_deflection,
    sis_deflection,
)


def number(value: float):
    return torch.tensor([value], dtype=torch.float64)


def plain(pair):
    return [float(v) for v in pair]


@pytest.mark.parametrize(("x", "y", "expected"), [
    (1, 2, (0.4472135954999579, 0.8944271909999159)),  # lenstronomy test_sis, theta_E = 1
    (3, 1, (0.9486832980505138, 0.31622776601683794))])
def test_isothermal_sphere_of_lenstronomy(x, y, expected):
    assert plain(sis_deflection(number(x), number(y), number(1.0))) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("centre_yx", "theta_E", "expected_yx"), [  # PyAutoGalaxy isothermal_sph, order y, x
    ((-0.7, 0.5), 1.3, (1.2151, -0.46208)), ((-0.1, 0.1), 5.0, (4.88588, 1.06214))])
def test_isothermal_sphere_of_pyautogalaxy(centre_yx, theta_E, expected_yx):  # noqa: N803
    y, x = 0.1875 - centre_yx[0], 0.1625 - centre_yx[1]
    ours = plain(sis_deflection(number(x), number(y), number(theta_E)))
    assert ours[::-1] == pytest.approx(expected_yx, abs=1e-4)


def test_isothermal_ellipsoid_of_pyautogalaxy():
    """Components (0, 0.333333) are q = 0.5 along x; its Einstein radius is the major axis'."""
    q, phi = 0.5, 0.0
    theta_E = 2 * math.sqrt(q) / (1 + q)  # of its normalisation E = 1 into the product average
    lens = Ellipsoid.of(number(theta_E), number(q), number(phi))
    ax, ay = plain(sie_deflection(number(0.1625), number(0.1625), lens))
    assert (ay, ax) == pytest.approx((0.79421, 0.50734), abs=1e-4)
    kappa = sie_convergence(number(1.0), number(0.0), number(theta_E), number(q), number(phi))
    assert float(kappa) == pytest.approx(0.66666, abs=1e-4)


@pytest.mark.parametrize(("x", "y", "theta_E", "expected"), [
    (1, 0, 1, (1, 0)), (3, 1, 1, (0.3, 0.1)),  # lenstronomy
    (1, 1, 1, (0.5, 0.5)), (1, 1, 2, (2, 2)), (1, 2, 1, (0.2, 0.4)),  # PyAutoGalaxy, here in order x, y
    (9, 4, 2, (36 / 97, 16 / 97))])
def test_point_mass(x, y, theta_E, expected):  # noqa: N803
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    masses = PointMasses.of(number(x), number(y), nothing, nothing, nothing + theta_E**2)
    assert plain(point_masses_deflection(masses)) == pytest.approx(expected, abs=1e-9)


def test_point_mass_off_centre():
    """PyAutoGalaxy: centre (1, 2), position (2, 3), order y, x."""
    one = torch.ones(1, 1, dtype=torch.float64)
    masses = PointMasses.of(number(3), number(2), 2 * one, one, one)
    assert plain(point_masses_deflection(masses)) == pytest.approx((0.5, 0.5), abs=1e-9)


def test_shear_of_lenstronomy():
    ours = shear_deflection(number(1), number(2), number(0.1), number(0.1))
    assert plain(ours) == pytest.approx((0.3, -0.1))


@pytest.mark.parametrize(("x", "y", "R_e", "n", "expected"), [
    (1, 2, 1, 1, 0.12658651833626802), (3, 1, 1, 1, 0.026902273598180083), (4, 1, 1, 1, 0.0053957432862338055),
    (0.02, 0, 0.1, 4, 12.688073819377406)])  # the last at a fifth of R_e
def test_sersic_of_lenstronomy(x, y, R_e, n, expected):  # noqa: N803
    values = [number(v) for v in (0, 0, R_e, n, 1, 0, 1)]
    ours = sersic_brightness(number(x), number(y), Sersic.of(*values))
    assert float(ours) == pytest.approx(expected, rel=1e-9)


def test_sersic_amplitude_is_what_integrates_to_the_flux():
    axis = (torch.arange(1600, dtype=torch.float64) - 799.5) * 0.005
    amplitude = sersic_amplitude(7.0, 0.25, 1.0)
    source = Sersic.of(*(number(v) for v in (0, 0, 0.25, 1.0, 0.7, 0.4, amplitude)))
    assert float(sersic_brightness(axis, axis[:, None], source).sum()) * 0.005**2 == pytest.approx(7.0, rel=1e-3)


@pytest.mark.parametrize(("mass", "expected"), [
    (1e12, 1.281490567617296), (3e10, 0.22196067725334362), (3e8, 0.022196067725334362),
    (1e10, 0.12814905676172958), (1e6, 0.001281490567617296)])
def test_published_mass_formula_with_luminosity_distances(mass, expected):
    assert einstein_radius_arcsec(mass, 0.5, 1.0, luminosity=True) == pytest.approx(expected, rel=2e-6)


def test_corrected_mass_formula():
    assert einstein_radius_arcsec(1e12, 0.5, 1.0) == pytest.approx(1.6645190143535713, rel=2e-6)


def test_published_deflection_of_the_survey_models():
    from astropy.cosmology import FlatLambdaCDM

    from deeplense_core.sim.recipes.deeplense_models import PUBLISHED_DEFLECTION

    lens, near, far = (FlatLambdaCDM(H0=70.0, Om0=0.3).comoving_distance(z).value for z in (0.5, 1.0, 2.5))
    assert pytest.approx((1 - lens / near) / (1 - lens / far), rel=1e-6) == PUBLISHED_DEFLECTION
