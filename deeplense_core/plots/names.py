"""Metrics as they are called on the screen."""

from __future__ import annotations

from deeplense_core.plots import theme as look

METRIC_DISPLAY = {
    "auc_macro": "AUC", "accuracy": "Accuracy", "f1_macro": "F1", "ece": "ECE", "log_loss": "Log loss",
    "brier": "Brier score", "auroc": "AUROC", "auprc": "AUPRC", "tpr0": "TPR0", "tpr10": "TPR10",
    "psnr": "PSNR (dB)", "psnr_median": "PSNR, median (dB)", "psnr_of_mean_mse": "PSNR of mean MSE (dB)",
    "psnr_floor": "noise floor (dB)", "arc_psnr": "PSNR on arcs (dB)", "ssim": "SSIM", "mse": "MSE",
    "flux_ratio": "flux ratio", "reobs_chi2": "re-observed χ² per pixel",
    "centroid_shift": "centroid shift (arcsec)", "einstein_radius_error": "Einstein radius error (arcsec)",
    "perceptual": "perceptual distance", "closeness": "perceptual closeness",
}  # fmt: skip


def metric_label(name: str) -> str:
    """A metric's name as shown: ``auc_macro`` is AUC, ``auc_vort`` is AUC of vortex (axion)."""
    if name in METRIC_DISPLAY:
        return METRIC_DISPLAY[name]
    if name.startswith("auc_"):
        return f"AUC of {look.class_style(name.removeprefix('auc_')).label}"
    return look.text(name)
