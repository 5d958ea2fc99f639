"""What adaptation was worth: the probe and the plane against scikit-learn, the twin, the verdict."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from two_surveys import SMALL, write

from deeplense_core import train
from deeplense_core.adapt import ADAPT_CONFIGS
from deeplense_core.adapt.domains import domain_auc, plane, thinned
from deeplense_core.adapt.report import own_settings, sentence, source_only_twin
from deeplense_core.calibrate import calibrate
from deeplense_core.evaluate import compare_surveys, evaluate, evaluate_after_training
from deeplense_core.evaluations.predictions import evaluations
from deeplense_core.metrics.logistic import logistic
from deeplense_core.runs import Run
from deeplense_core.workspace import results_dir

OWN = own_settings(ADAPT_CONFIGS)


def trained(source, target, method, seed=3, **settings) -> Run:
    chosen = {**SMALL, "adapt": method, "target": str(target.path), **settings}
    run = Run.create(train.plan("find", str(source.path), "d4net", chosen, seed=seed, device="cpu"))
    run.set_status(state=train.train(run))
    calibrate(run.id)
    return run


def test_the_probe_is_scikit_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6))
    positive = x[:, 0] + 0.5 * rng.normal(size=80) > 0.3
    weights, offset = logistic(x, positive)
    theirs = LogisticRegression(C=1.0, tol=1e-9, max_iter=5000).fit(x, positive)
    assert np.allclose(weights, theirs.coef_[0], atol=1e-4)
    assert offset == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_the_probe_converges_where_a_line_divides_the_domains():
    x = np.concatenate([np.random.default_rng(1).normal(size=(50, 3)) - 9, np.full((50, 3), 9.0)])
    weights, offset = logistic(x, np.arange(100) >= 50)
    assert np.isfinite([*weights, offset]).all()


def test_domain_auc_of_equal_and_of_shifted_domains():
    rng = np.random.default_rng(2)
    source, same, shifted = rng.normal(size=(300, 8)), rng.normal(size=(200, 8)), rng.normal(size=(200, 8)) + 2
    equal, apart = domain_auc(source, same), domain_auc(source, shifted)
    assert equal["low"] < 0.56
    assert apart["low"] > 0.97
    assert domain_auc(source, same) == equal


def test_the_plane_is_that_of_principal_components():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    made = plane(features[:40], features[40:])
    theirs = PCA(2).fit_transform((features - features.mean(0)) / features.std(0))
    for axis in range(2):
        assert abs(np.corrcoef(made[:, axis], theirs[:, axis])[0, 1]) == pytest.approx(1, abs=1e-4)
    assert np.array_equal(made, plane(features[:40], features[40:]))


def test_thinning_keeps_few_by_chance():
    rows = thinned(100, 10, 0)
    assert len(rows) == 10
    assert len(set(rows.tolist())) == 10
    assert thinned(4, 10, 0).tolist() == [0, 1, 2, 3]


def test_the_twin_differs_in_adaptation_alone(easy, hard):
    plain = trained(easy, hard, "none", epochs=1)
    adapted = trained(easy, hard, "dann", epochs=1, dann_weight=0.2)
    assert source_only_twin(adapted.id, OWN) == plain.id
    assert source_only_twin(trained(easy, hard, "dann", epochs=2).id, OWN) is None
    assert source_only_twin(trained(easy, hard, "dann", epochs=1, seed=4).id, OWN) is None
    assert source_only_twin("common-test", OWN) is None


def test_an_evaluation_on_the_target_says_what_adaptation_was_worth(easy, hard):
    plain, adapted = (trained(easy, hard, method, epochs=8, lr=0.01) for method in ("none", "finetune"))
    report = evaluate(adapted.id, str(hard.path))
    found = report["adaptation"]
    assert (found["method"], found["source_only"]) == ("finetune", plain.id)
    assert set(found["domain_auc"]) == {"before", "after"}
    alone = evaluate(plain.id, str(hard.path))["metrics"]["auroc"]["value"]
    assert found["auroc"]["source_only"]["value"] == pytest.approx(alone)
    assert found["auroc"]["adapted"]["value"] == pytest.approx(report["metrics"]["auroc"]["value"])
    difference = found["difference"]
    assert difference["value"] == pytest.approx(report["metrics"]["auroc"]["value"] - alone)
    words = {"helps": difference["low"] > 0, "harms": difference["high"] < 0}
    assert words.get(difference["verdict"], difference["low"] <= 0 <= difference["high"])
    assert sentence(found).startswith("finetune")
    folder, _ = evaluations(adapted.id)[0]
    with np.load(folder / "predictions.npz") as kept:
        n = len(kept["domain"])
        assert n == found["images"]["source"] + found["images"]["target"]
        assert kept["domain_before"].shape == kept["domain_after"].shape == (n, 2)
        assert set(kept["domain_class"].tolist()) == {0, 1}
    assert "adaptation" not in evaluate(adapted.id, str(easy.path)), "the source is no other survey"
    assert evaluate(adapted.id, str(hard.path), "train")["seen_in_training"]


def test_without_a_twin_or_labels_there_is_no_verdict(easy, hard, tmp_path):
    alone = trained(easy, hard, "mmd", epochs=1, seed=8)
    found = evaluate(alone.id, str(hard.path))["adaptation"]
    assert found["difference"] is None
    assert found["domain_auc"]["before"] is None
    assert "train the same with adapt = none" in sentence(found)
    bare = write(tmp_path / "bare", 96, seed=9, labelled=0.0, noise=0.3)
    trained(easy, bare, "none", epochs=1)
    adapted = trained(easy, bare, "mmd", epochs=1)
    evaluate_after_training(adapted)
    assert (results_dir(adapted.id) / "adaptation" / "report.json").exists()
    facts = compare_surveys(adapted.id)
    assert "no labelled test images" in sentence(facts)
    assert facts["domain_auc"]["before"]["value"] > 0.5
    with np.load(results_dir(adapted.id) / "adaptation" / "domains.npz") as kept:
        assert (kept["domain_class"][kept["domain"] == 1] == -1).all()


@pytest.mark.parametrize(("verdict", "words"), [
    ("helps", "dann helps (AUROC +0.050, 95 % +0.010 to +0.090)"),
    ("no difference shown", "dann: no difference shown (AUROC +0.050, 95 % −0.010 to +0.090)"),
])  # fmt: skip
def test_the_verdict_is_plain(verdict, words):
    low = 0.01 if verdict == "helps" else -0.01
    found = {"method": "dann", "source_only": "x",
             "difference": {"value": 0.05, "low": low, "high": 0.09, "verdict": verdict}}  # fmt: skip
    assert sentence(found) == words
