"""The peer of the simulator: the same systems, rendered by lenstronomy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.sim.scene import Recipe, Scene


@cache
def _lenstronomy_model(optics: Any, masses: int) -> Any:
    """An image model of lenstronomy for one camera (:class:`Optics`) and number of point masses."""
    try:
        from lenstronomy.Data.imaging_data import ImageData
        from lenstronomy.Data.psf import PSF
        from lenstronomy.ImSim.image_model import ImageModel
        from lenstronomy.LensModel.lens_model import LensModel
        from lenstronomy.LightModel.light_model import LightModel
    except ImportError as err:
        raise UserError("The bench needs lenstronomy: pip install -r requirements-dev.txt") from err
    scale, corner = optics.pixel_scale_arcsec, -(optics.n_pix - 1) / 2 * optics.pixel_scale_arcsec
    data = ImageData(np.zeros((optics.n_pix, optics.n_pix)), ra_at_xy_0=corner, dec_at_xy_0=corner,
                     transform_pix2angle=np.eye(2) * scale)
    psf = PSF("GAUSSIAN", fwhm=optics.psf_sigma_arcsec * math.sqrt(8 * math.log(2)),
              truncation=optics.psf_truncate_sigma, pixel_size=scale)
    halo = "SIS" if optics.spherical else "SIE"
    return ImageModel(data, psf, LensModel([halo, "SHEAR"] + ["POINT_MASS"] * masses),
                      LightModel(["SERSIC_ELLIPSE"]))


def lenstronomy_system(made: Recipe, scene: Scene, i: int) -> Callable[[], np.ndarray]:
    """A function that renders system ``i`` with lenstronomy: counts per second and pixel."""
    s = {name: value[i].double().numpy() for name, value in scene.tensors().items()}
    masses = int((s["mass_theta_E_sq"] > 0).sum())
    model = _lenstronomy_model(made.optics, masses)  # first: it says what to do where lenstronomy is missing
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    halo = {"theta_E": float(s["theta_E"])}
    if not made.optics.spherical:
        halo["e1"], halo["e2"] = phi_q2_ellipticity(float(s["phi"]), float(s["q"]))
    lenses = [halo, {"gamma1": float(s["gamma1"]), "gamma2": float(s["gamma2"])}]
    lenses += [{"theta_E": math.sqrt(t), "center_x": x, "center_y": y} for x, y, t in zip(
        s["mass_x"][:masses], s["mass_y"][:masses], s["mass_theta_E_sq"][:masses], strict=True)]
    e1, e2 = phi_q2_ellipticity(float(s["source_phi"]), float(s["source_q"]))
    light = [{"amp": float(s["source_amplitude"]) / made.optics.pixel_scale_arcsec**2,
              "R_sersic": float(s["source_R_e"]), "n_sersic": float(s["source_n"]), "e1": e1, "e2": e2,
              "center_x": float(s["source_x"]), "center_y": float(s["source_y"])}]
    return lambda: model.image(lenses, light)
