"""Terms that a visitor may not know, explained once, for the help of every widget and for the list of them all."""

from __future__ import annotations

import streamlit as st

TERMS = {
    "Einstein radius": "Radius of the ring into which a source exactly behind a round lens is drawn, in arcsec. It "
    "grows with the square root of the lens's mass.",
    "External shear": "Pull of masses outside the image, which stretches the ring in one direction.",
    "Convergence": "Mass on the line of sight per area, in units of the density that makes a ring. Written kappa.",
    "Substructure": "Mass that is not smooth: small halos of cold dark matter (subhalos), or a line of mass (vortex) "
    "where dark matter is an axion condensate. It dents the ring by about one part in a hundred.",
    "PSF": "Point-spread function: the blur of telescope and air, here the picture of a single star. Given as its "
    "width, sigma or full width at half maximum (2.355 sigma).",
    "AUC": "Area under the ROC curve: the chance that an image of a class scores higher than one of another class. "
    "0.5 is guessing, 1 is perfect. Macro: the mean over the classes, each against the rest.",
    "ROC": "True positives against false positives as the threshold falls. Its axis of false positives is best read "
    "on a logarithmic scale where the wanted class is rare.",
    "TPR0": "Part of the lenses that score higher than every non-lens: what is found without one false alarm.",
    "TPR10": "Part of the lenses that are found when fewer than ten non-lenses are let through. For searches of "
    "millions of galaxies this matters more than AUC.",
    "AUPRC": "Area under precision against completeness. Unlike AUC it falls where the wanted class is rare.",
    "Completeness and purity": "Completeness: the part of all lenses that is found. Purity: the part of what is found "
    "that are lenses. Purity depends on how rare lenses are.",
    "Prevalence": "How rare the wanted class is on the sky. Strong lenses are about one galaxy in a thousand to one in "
    "ten thousand.",
    "Calibration error": "Mean gap between stated probability and how often it comes true (ECE). 0.01: what is called "
    "80 % comes true in 79 to 81 of 100 cases.",
    "Temperature": "One number, found on validation images, that the network's outputs are divided by so that its "
    "probabilities come true as often as they say.",
    "Conformal": "A set of classes made to hold the true one for at least 95 % of the images of each class, on images "
    "like the training images. One class: sure. Several: undecided.",
    "Evidence map": "Where in the image the network finds what speaks for a class. It shows where the network looks, "
    "not whether it is right.",
    "Unfamiliar image": "An image unlike those of the training, told by noise, sky, brightness and the network's "
    "features. Its class is then not to be trusted, however sure it sounds.",
    "Confidence interval": "Range that holds the true value in 95 of 100 repetitions, found by drawing the test images "
    "again 1,000 times. Two values whose intervals overlap may not differ.",
    "Noise floor": "PSNR of the noise-free fine image against the noisy one that was observed: the noise itself "
    "forbids more, and whoever reports more has fitted noise.",
    "PSNR": "Peak signal over the mean squared error, in decibels; 3 dB more is half the error. Comparable only on the "
    "same images with the same data range.",
    "SSIM": "Structural similarity, 1 for equal images: compares means, contrasts and patterns in small windows.",
    "Re-observed chi squared": "The fine image put back through the coarse camera, against the coarse image, in units "
    "of its noise. Near 1: nothing was invented that the coarse image denies.",
    "Domain adaptation": "Training on simulations so that the network holds on images of another kind, whose labels "
    "it never sees.",
    "Self-supervision": "Training without labels: the network learns that two views of the same image belong "
    "together. What it has learnt is measured by a linear probe.",
    "Linear probe": "A linear classifier on the frozen features of a network: what they tell without more training.",
    "Embedding": "The features of an image as a point. Drawn in two dimensions, near points are alike; distances "
    "between far ones mean little.",
    "Curriculum": "Training that begins with substructure heavier than in nature and ends with the true one.",
    "Seed": "The number that all random choices follow from: the same seed gives the same images, byte for byte.",
}  # fmt: skip
METRICS = {
    "auc_macro": "AUC", "auroc": "AUC", "ece": "Calibration error", "auprc": "AUPRC", "tpr0": "TPR0", "tpr10": "TPR10",
    "psnr": "PSNR", "psnr_floor": "Noise floor", "ssim": "SSIM", "reobs_chi2": "Re-observed chi squared",
    "probe_accuracy": "Linear probe", "probe_auc_macro": "Linear probe",
}  # fmt: skip
"""Metric -> the term that explains it."""


def metric_meaning(name: str) -> str | None:
    """Help for a metric; None where its name says it all."""
    return TERMS.get(METRICS.get(name, ""))


def meaning(term: str, more: str = "") -> str:
    """Help for a widget: what a term means, and more that only this place knows."""
    return f"{TERMS[term]} {more}".rstrip()


def glossary() -> None:
    """Every term with its meaning, behind one button."""
    with st.popover("Terms", icon=":material/menu_book:"), st.container(height=420, border=False):
        for term in sorted(TERMS, key=str.lower):
            st.markdown(f"**{term}.** {TERMS[term]}")
