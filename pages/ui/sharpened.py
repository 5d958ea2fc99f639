"""The views of one super-resolved image, and of the evaluation behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from deeplense_core import plots
from deeplense_core.metrics import superres as metrics
from deeplense_core.metrics.radial import radial_profile
from deeplense_core.plots import metric_label
from deeplense_core.plots.superres import profile_figure
from deeplense_core.predictions import evaluations
from deeplense_core.report import to_csv, with_interval
from pages.ui.layout import pair as two_places
from pages.ui.pairs import Pair, row_label, written
from pages.ui.picker import short_data
from pages.ui.scorings import another_data_set, offer_own_test, under_way
from pages.ui.theme import theme_name
from pages.ui.viewer import Panel, viewer

FINE, COARSE = "observed fine", "coarse"
LOCK = "sky"
COLUMNS = ("psnr", "arc_psnr", "ssim", "flux_ratio", "reobs_chi2", "centroid_shift", "einstein_radius_error",
           "perceptual")  # fmt: skip
"""Metrics of one image, in the order of the table."""
TABLE = ("psnr", "psnr_floor", "psnr_median", "psnr_of_mean_mse", "arc_psnr", "ssim", "mse", "flux_ratio", "reobs_chi2",
         "centroid_shift", "einstein_radius_error", "perceptual")  # fmt: skip
"""Metrics of a test set, in the order of the table."""
Images = Mapping[str, np.ndarray]


def fine_scale(pair: Pair, scale: int) -> float | None:
    """Side of a fine pixel in arcsec."""
    return pair.low_scale_arcsec / scale if pair.low_scale_arcsec else None


def panels(pair: Pair, images: Images, scale: int) -> list[Panel]:
    """Coarse, every row, and the observed fine image, all with one stretch."""
    shared = {"unit": pair.unit, "bands": pair.bands, "lock": LOCK}
    fine = fine_scale(pair, scale)
    shown = [Panel(pair.low, COARSE, pair.low_scale_arcsec, wcs=pair.wcs, **shared)]
    shown += [Panel(image, row_label(name), fine, wcs=pair.fine_wcs, **shared) for name, image in images.items()]
    if pair.high is not None:
        shown.append(Panel(pair.high, FINE, fine, wcs=pair.fine_wcs, **shared))
    return shown


def this_image(pair: Pair, images: Images, scale: int) -> None:
    """Numbers of this image beside its radial profile."""
    left, right = two_places()
    with left:
        if pair.high is None:
            st.info("No fine image of this sky to measure against: only what the coarse one confirms can be said.",
                    icon=":material/info:")  # fmt: skip
        elif images:
            table, range_ = image_table(pair, images, scale)
            st.dataframe(table, alt="Metrics of each row on this image")
            st.caption(
                f"Best in bold. Data range of PSNR and SSIM: {range_:g}, the peak of the observed image; no result is "
                "scaled. Re-observed χ² is 1 where the result put back through the coarse camera is the coarse image "
                "within its noise."
            )
    with right:
        every = {**images, **({FINE: pair.high} if pair.high is not None else {})}
        step = fine_scale(pair, scale) or 1.0
        profiles = {row_label(name): radial_profile(image.mean(0), step, step) for name, image in every.items()}
        profiles[COARSE] = radial_profile(pair.low.mean(0), step * scale, step * scale)
        figure = profile_figure(
            profiles, reference=FINE if pair.high is not None else None, unit=pair.unit,
            arcsec=pair.low_scale_arcsec is not None, theme=theme_name(),
        )  # fmt: skip
        st.plotly_chart(figure, theme=None, key="superres_profile", config=plots.PLOTLY_CONFIG,
                        alt="Mean brightness against radius, one line for each image")  # fmt: skip


def image_table(pair: Pair, images: Images, scale: int) -> tuple[Any, float]:
    """Metrics of each row on this image, best in bold, and the data range of its PSNR."""
    from deeplense_core.tasks.superres_scores import one_image

    assert pair.high is not None
    range_, fine = metrics.data_range(pair.high[None]), fine_scale(pair, scale)
    found = {row_label(name): one_image(image, pair.low, pair.high, pair.columns, scale, fine, range_)
             for name, image in images.items()}  # fmt: skip
    names = [name for name in COLUMNS if any(np.isfinite(row.get(name, np.nan)) for row in found.values())]
    table = pd.DataFrame({row: {name: values[name] for name in names} for row, values in found.items()})
    best = {metric_label(name): best_row(name, table.loc[name]) for name in names}
    table.index = pd.Index([metric_label(name) for name in names])
    return emphasised(table, best).format("{:.3f}", na_rep="–"), range_


def best_row(metric: str, values: pd.Series) -> str | None:
    """Row that is best in a metric; None where no row has a value."""
    known = values.dropna()
    if known.empty:
        return None
    if metric in metrics.BEST_AT_ONE:
        return str((known - 1).abs().idxmin())
    return str(known.idxmax() if metrics.BETTER.get(metric, -1) > 0 else known.idxmin())


def emphasised(table: pd.DataFrame, best: Mapping[str, str | None]) -> Any:
    """A table with a line for each metric and a column for each model, the best of each line in bold."""
    def bold(line: pd.Series) -> list[str]:
        return ["font-weight: bold" if model == best.get(str(line.name)) else "" for model in line.index]

    return table.style.apply(bold, axis=1)


def all_images(pair: Pair, images: Images, scale: int) -> None:
    """The evaluation of the networks on whole test sets: one table a data set, never two in one."""
    names = [name for name in dict.fromkeys(row.removesuffix(metrics.AVERAGED) for row in images) if written(name)]
    if not names:
        st.info("Choose a network above: its test images are scored beside all interpolations.", icon=":material/info:")
        return
    another_data_set(names, "superres_score", pairs=True)
    reports = {name: [report for _, report in evaluations(name)] for name in names}
    for number, name in enumerate(names):
        under_way(name, f"superres_score_{number}", row_label(name))
        if not reports[name]:
            offer_own_test(name, f"superres_score_{number}", row_label(name))
    if found := [report for name in names for report in reports[name]]:
        of_test_set(found)


def of_test_set(reports: Sequence[Mapping[str, Any]]) -> None:
    """The table of one test set, chosen where the reports are of several."""
    sets: dict[tuple, list[Mapping[str, Any]]] = {}
    for report in reports:
        sets.setdefault((report["data_fingerprint"], report["split"], report["data_range"]), []).append(report)
    titles = {key: title(of_set[0]) for key, of_set in sets.items()}
    of_set = sets[st.selectbox("Test set", list(sets), format_func=titles.get, key="superres_set")]
    table, best = set_table(of_set)
    weights = {report["perceptual_weights"] for report in of_set}
    if len(weights) > 1:  # distances by different features are not compared
        table = table.drop(index=metric_label("perceptual"), errors="ignore")
    st.dataframe(emphasised(table, best), alt="Metrics of every row with 95 % intervals")
    first = of_set[0]
    distance = "evaluated with different features, so left out" if len(weights) > 1 else \
        f"VGG19, {first['perceptual_weights']}, {first['perceptual_images']} images"
    st.caption(
        f"Mean over {first['n']:,} images with its 95 % bootstrap interval, best in bold. Data range "
        f"{first['data_range']:g}. The noise floor is the PSNR of the noise-free fine image: no network can pass it. "
        f"Perceptual distance: {distance}."
    )
    st.download_button("Table (CSV)", to_csv(table.rename_axis("metric").reset_index()), "superres-metrics.csv",
                       "text/csv", icon=":material/download:", on_click="ignore")  # fmt: skip


def title(report: Mapping[str, Any]) -> str:
    """A test set in one line."""
    return f"{short_data(report['data'])} · {report['split']} · {report['n']:,} images"


def set_table(reports: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, dict[str, str | None]]:
    """Models of all reports on one test set, as text with intervals, and the best of each metric."""
    rows = {row_label(name): values for report in reports for name, values in report["rows"].items()}
    names = [name for name in TABLE if any(values[name]["value"] is not None for values in rows.values())]
    cells = {metric_label(name): {row: with_interval(values[name]) for row, values in rows.items()} for name in names}
    numbers = {name: pd.Series({row: values[name]["value"] for row, values in rows.items()}, dtype=float)
               for name in names}  # fmt: skip
    best = {metric_label(name): best_row(name, numbers[name]) for name in names if name != "psnr_floor"}
    return pd.DataFrame(cells).T, best


def confirmed(pair: Pair, images: Images, scale: int) -> None:
    """Residual of the re-observation, and what the network added, both in sigmas."""
    import torch

    from deeplense_core.superres.support import reobservation_residual, unsupported

    fine = fine_scale(pair, scale)
    needed = ("truth_lr_psf_sigma", "truth_hr_psf_sigma", "truth_sky", "truth_lr_counts_per_unit",
              "truth_hr_counts_per_unit")  # fmt: skip
    if fine is None or any(name not in pair.columns for name in needed):
        st.info("The point-spread functions and the noise of this pair are not known, so the coarse image cannot be "
                "held against the results.", icon=":material/info:")  # fmt: skip
        return
    columns = {name: torch.tensor([pair.columns[name]], dtype=torch.float32) for name in needed}
    low = torch.from_numpy(pair.low[None])
    row = st.segmented_control(
        "Of", list(images), default=next(iter(reversed(images)), None), format_func=row_label, key="superres_confirm"
    )
    if row is None:
        st.info("Choose a network or an interpolation above.", icon=":material/info:")
        return
    image = torch.from_numpy(images[row][None])
    residual = reobservation_residual(image, low, columns, scale, fine)[0].numpy()
    added = unsupported(image, columns, scale, fine)[0].numpy()
    maps = [Panel(residual, "re-observed − coarse", pair.low_scale_arcsec, unit="σ", colormap="RdBu", stretch="linear"),
            Panel(added, "not confirmed by the coarse image", fine, unit="σ", colormap="RdBu",
                  stretch="linear")]  # fmt: skip
    if pair.high is not None:
        spread = np.sqrt((np.clip(images[row], 0, None) + pair.columns["truth_sky"])
                         / pair.columns["truth_hr_counts_per_unit"])  # fmt: skip
        maps.append(Panel((images[row] - pair.high) / spread, "result − observed fine", fine, unit="σ",
                          colormap="RdBu", stretch="linear"))  # fmt: skip
    viewer(maps, key="superres_maps", height=360, stretch="linear", colormap="RdBu")
    st.caption(
        "First: the result through the coarse camera, minus the coarse image, in sigmas of its noise: structure here "
        "contradicts the data. Second: structure that would leave the coarse image as it is; the network added it "
        "from what it has learnt, rightly or wrongly; in sigmas of the fine camera's noise."
    )
