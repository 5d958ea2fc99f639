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
    "knn_accuracy": "accuracy of neighbours", "rank_share": "effective rank, share of the most", "effective_rank":
    "effective rank", "probe_auc_macro": "AUC of a linear probe", "probe_accuracy": "accuracy of a linear probe",
    "probe_auc_macro_1_percent": "AUC of a probe, 1 % of labels", "probe_auc_macro_10_percent":
    "AUC of a probe, 10 % of labels", "rotation_error": "change in quarter turns", "rotation_error_any":
    "change in a turn by 30°", "rotation_change": "change under flips and turns",
}  # fmt: skip


def metric_label(name: str) -> str:
    """A metric's name as shown: ``auc_macro`` is AUC, ``auc_vort`` is AUC of vortex (axion)."""
    if name in METRIC_DISPLAY:
        return METRIC_DISPLAY[name]
    if name.startswith("auc_"):
        return f"AUC of {look.class_style(name.removeprefix('auc_')).label}"
    return look.text(name)
