"""The views of one super-resolved image, and of the evaluation behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from deeplense_core import plots
from deeplense_core.evaluations.predictions import evaluations
from deeplense_core.evaluations.report import to_csv, with_interval
from deeplense_core.metrics import superres as metrics
from deeplense_core.metrics.radial import radial_profile
from deeplense_core.plots import metric_label
from deeplense_core.plots.superres import profile_figure
from pages.ui.layout import pair as two_places
from pages.ui.messages import guard, plain
from pages.ui.pairs import Pair, camera_maps, measured, row_labels, written
from pages.ui.picker import short_data
from pages.ui.scorings import another_data_set, offer_own_test, under_way
from pages.ui.theme import theme_name
from pages.ui.viewer import Panel, viewer

FINE, COARSE = "observed fine", "coarse"
LOCK = "sky"
COLUMNS = ("psnr", "arc_psnr", "ssim", "flux_ratio", "reobs_chi2", "centroid_shift", "einstein_radius_error")
"""Metrics of one image, in the order of the table."""
TABLE = ("psnr", "psnr_floor", "psnr_median", "psnr_of_mean_mse", "arc_psnr", "ssim", "mse", "flux_ratio", "reobs_chi2",
         "centroid_shift", "einstein_radius_error", "perceptual")  # fmt: skip
"""Metrics of a test set, in the order of the table."""
Images = Mapping[str, np.ndarray]
Evaluation = tuple[Path, Mapping[str, Any]]
"""Its folder and its report."""


def fine_scale(pair: Pair, scale: int) -> float | None:
    """Side of a fine pixel in arcsec."""
    return pair.low_scale_arcsec / scale if pair.low_scale_arcsec else None


def panels(pair: Pair, images: Images, scale: int) -> list[Panel]:
    """Coarse, every row, and the observed fine image, all with one stretch."""
    shared = {"unit": pair.unit, "bands": pair.bands, "lock": LOCK}
    fine, wcs, labels = fine_scale(pair, scale), fine_wcs(pair, scale), row_labels(images)
    shown = [Panel(pair.low, COARSE, pair.low_scale_arcsec, wcs=pair.wcs, **shared)]
    shown += [Panel(image, labels[name], fine, wcs=wcs, **shared) for name, image in images.items()]
    if pair.high is not None:
        shown.append(Panel(pair.high, FINE, fine, wcs=wcs, **shared))
    return shown


def fine_wcs(pair: Pair, scale: int) -> str | None:
    """Celestial cards of the fine grid, one a line; None without coordinates."""
    if pair.fine_wcs or not pair.wcs:
        return pair.fine_wcs
    from deeplense_core.superres.enhance_files import finer_wcs

    return finer_wcs(pair.wcs, scale)


def this_image(pair: Pair, images: Images, scale: int) -> None:
    """Numbers of this image beside its radial profile, and the results as files."""
    left, right = two_places()
    with left:
        if pair.facts:
            comparison_of_telescopes(pair, scale)
        if pair.high is None:
            st.info("No fine image of this sky to measure against: only what the coarse one confirms can be said.",
                    icon=":material/info:")  # fmt: skip
        elif images:
            table, range_ = image_table(pair, images, scale)
            st.dataframe(table, alt="Metrics of each row on this image")
            st.caption(
                f"Best in bold. Data range of PSNR and SSIM: {range_:.3g}, the peak of the observed image; no result "
                "is scaled. Re-observed χ² is 1 where the result put back through the coarse camera is the coarse "
                "image within its noise."
            )
        if images:
            downloads(pair, images, scale)
    with right:
        figure = profile_figure(
            profiles(pair, images, scale), reference=FINE if pair.high is not None else None, unit=pair.unit,
            arcsec=pair.low_scale_arcsec is not None, theme=theme_name(),
        )  # fmt: skip
        st.plotly_chart(figure, theme=None, key="superres_profile", config=plots.PLOTLY_CONFIG,
                        alt="Mean brightness against radius, one line for each image")  # fmt: skip


def profiles(pair: Pair, images: Images, scale: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean brightness against radius, in arcsec or, where pixels have no known size, in fine pixels."""
    every = {**images, **({FINE: pair.high} if pair.high is not None else {})}
    step, labels = fine_scale(pair, scale) or 1.0, row_labels(every)
    found = {labels[name]: radial_profile(image.mean(0), step, step) for name, image in every.items()}
    return {**found, COARSE: radial_profile(pair.low.mean(0), step * scale, step * scale)}


def comparison_of_telescopes(pair: Pair, scale: int) -> None:
    """What the fine image, blurred and binned, says of the coarse one, and every other band beside."""
    from deeplense_core.superres.pair_set import pair_lines

    for line in pair_lines(pair.facts, pair.low.shape, pair.low_scale_arcsec or 0.0, scale):
        st.caption(plain(line))
    if len(pair.facts["bands"]) > 1:
        with st.expander("Colours: the fine image against every coarse band"):
            table = pd.DataFrame(pair.facts["bands"])
            table.columns = ["band", "correlation", "zero point", "background", "residual (σ)"]
            st.dataframe(table, hide_index=True, alt="How each coarse band compares with the fine image")


def downloads(pair: Pair, images: Images, scale: int) -> None:
    """One result as FITS, with coordinates, pixel scale and flux, or as NPY."""
    from deeplense_core.superres.save import fits_bytes, npy_bytes

    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        row = st.selectbox("Save", list(images), len(images) - 1, format_func=row_labels(images).get,
                           key="superres_save", width=260)  # fmt: skip
        stem = re.sub(r"[^\w.-]+", "_", f"{pair.name.removesuffix('.fits')}_{row}")
        image = images[row]
        st.download_button(
            "FITS", lambda: fits_bytes(image, scale, row, wcs=pair.wcs, coarse_scale_arcsec=pair.low_scale_arcsec,
                                       unit=pair.unit, per_pixel=pair.per_pixel),
            f"{stem}.fits", "application/fits", icon=":material/download:", on_click="ignore", key="superres_fits",
        )  # fmt: skip
        st.download_button("NPY", lambda: npy_bytes(image), f"{stem}.npy", "application/octet-stream",
                           icon=":material/download:", on_click="ignore", key="superres_npy")  # fmt: skip


def image_table(pair: Pair, images: Images, scale: int) -> tuple[Any, float]:
    """Metrics of each row on this image, best in bold, and the data range of its PSNR."""
    labels, found, range_ = row_labels(images), {}, np.nan
    for name, image in images.items():
        found[labels[name]], range_ = measured(name, written(name), scale, pair.digest, pair, image)
    names = [name for name in COLUMNS if not all(np.isnan(row[name]) for row in found.values())]
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
    reports, labels = {name: evaluations(name) for name in names}, row_labels(names)
    for number, name in enumerate(names):
        under_way(name, f"superres_score_{number}", labels[name])
        if not reports[name]:
            offer_own_test(name, f"superres_score_{number}", labels[name])
    if found := [evaluation for name in names for evaluation in reports[name]]:
        of_test_set(found)


def of_test_set(found: Sequence[Evaluation]) -> None:
    """The table of one test set, chosen where the evaluations are of several, and its rows against each other."""
    sets: dict[tuple, list[Evaluation]] = {}
    for folder, report in found:
        # Fresh simulations have one fingerprint, however many there are.
        key = report["data_fingerprint"], report["split"], report["n"], report["data_range"]
        sets.setdefault(key, []).append((folder, report))
    titles = {key: title(of_set[0][1]) for key, of_set in sets.items()}
    chosen = sets[st.selectbox("Test set", list(sets), format_func=titles.get, key="superres_set")]
    of_set = [report for _, report in chosen]
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
    against_each_other(chosen)


def against_each_other(found: Sequence[Evaluation]) -> None:
    """Two rows on the same images: the difference with its interval, as one sentence."""
    from deeplense_core.superres.versus import comparable, difference, read_scores

    rows = {name: place for place, (_, report) in enumerate(found) for name in report["row_names"]}
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        names, labels = list(rows), row_labels(rows)
        a = st.selectbox("Compare", names, 0, format_func=labels.get, key="superres_a", width=260)
        b = st.selectbox("with", names, min(len(names) - 1, names.index("bicubic") if "bicubic" in names else 1),
                         format_func=labels.get, key="superres_b", width=260)  # fmt: skip
        metric = st.selectbox("in", comparable(found[0][1]["metrics"]), format_func=metric_label,
                              key="superres_metric", width=260)  # fmt: skip
    if a == b:
        st.caption("Choose two different rows.")
        return
    with guard():
        one, other = (read_scores(*found[rows[row]]) for row in (a, b))
        found_difference = difference(one, a, other, b, metric)
    st.markdown(f":material/balance: {plain(sentence(found_difference, labels[a], labels[b], metric))}")


def sentence(found: Mapping[str, Any], a: str, b: str, metric: str) -> str:
    """A paired difference in words."""
    off, label = found["value"], metric_label(metric)
    if off is None:
        return f"{label}: {a} and {b} cannot be compared, {found.get('undefined', 'no image has it')}."
    if metric in metrics.BEST_AT_ONE:
        label = f"{label}, its distance from 1"
    interval = "one image has no interval" if found["low"] is None else \
        f"95 % {found['low']:+.3f} to {found['high']:+.3f}, {found['n']:,} images"
    words = {"A better": f"{a} is better than {b}", "B better": f"{b} is better than {a}"}
    said = words.get(found["verdict"], f"{a} and {b} are not distinguishable")
    return f"{label}: {said}, {a} minus {b} {off:+.3f} ({interval})."


def title(report: Mapping[str, Any]) -> str:
    """A test set in one line."""
    return f"{short_data(report['data'])} · {report['split']} · {report['n']:,} images"


def set_table(reports: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, dict[str, str | None]]:
    """Models of all reports on one test set, as text with intervals, and the best of each metric."""
    labels = row_labels(name for report in reports for name in report["rows"])
    rows = {labels[name]: values for report in reports for name, values in report["rows"].items()}
    names = [name for name in TABLE if any(values[name]["value"] is not None for values in rows.values())]
    cells = {metric_label(name): {row: with_interval(values[name]) for row, values in rows.items()} for name in names}
    numbers = {name: pd.Series({row: values[name]["value"] for row, values in rows.items()}, dtype=float)
               for name in names}  # fmt: skip
    best = {metric_label(name): best_row(name, numbers[name]) for name in names if name != "psnr_floor"}
    return pd.DataFrame(cells).T, best


def confirmed(pair: Pair, images: Images, scale: int) -> None:
    """Residual of the re-observation, and what the network added, both in sigmas."""
    row = st.segmented_control(
        "Of", list(images), default=next(iter(reversed(images)), None), format_func=row_labels(images).get,
        key="superres_confirm",
    )
    if row is None:
        st.info("Choose a network or an interpolation above.", icon=":material/info:")
        return
    residual, added, off = camera_maps(row, written(row), scale, pair.digest, pair, images[row])
    fine, wcs = fine_scale(pair, scale), fine_wcs(pair, scale)
    shown = ((residual, "re-observed − coarse", pair.low_scale_arcsec, pair.wcs),
             (added, "not confirmed by the coarse image", fine, wcs), (off, "result − observed fine", fine, wcs))
    maps = [Panel(image, name, step, wcs=cards, unit="σ", colormap="RdBu", stretch="linear")
            for image, name, step, cards in shown if image is not None]  # fmt: skip
    if not maps:
        st.info("The point-spread functions and the noise of this image are not known, so the coarse image cannot be "
                "held against the results. Drop a finer image of the same sky, with the sharpness of both.",
                icon=":material/info:")  # fmt: skip
        return
    viewer(maps, key="superres_maps", height=360, stretch="linear", colormap="RdBu")
    st.caption(
        "Re-observed − coarse: the result through the coarse camera, minus the coarse image, in sigmas of its noise; "
        "structure there contradicts the data. Not confirmed: structure that would leave the coarse image as it is; "
        "the network added it from what it has learnt, rightly or wrongly; in sigmas of the fine camera's noise."
    )
