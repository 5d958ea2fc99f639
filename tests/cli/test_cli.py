"""The command line: a whole journey, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from deeplense_core.cli import main
from deeplense_core.cli.arguments import resumable, tell_skipped
from deeplense_core.data import DatasetWriter, open_dataset
from deeplense_core.workspace import ROOT

QUICK = [f"--set={pair}" for pair in ("width=2", "radii=16", "angles=64", "batch_size=16", "epochs=2",
                                      "compile=off", "precision=float32")]


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def lenses(tmp_path, capsys):
    folder = tmp_path / "lenses"
    code, out, _ = call(capsys, "simulate", "model-2", "--count", 90, "--out", folder, "--seed", 1, "--device", "cpu")
    assert (code, out.strip()) == (0, str(folder))
    return folder


def test_the_whole_journey(lenses, tmp_path, capsys):
    code, out, err = call(capsys, "train", "classify", "--data", lenses, "--model", "d4net", *QUICK, "--seed", 4,
                          "--name", "first light", "--device", "cpu")
    assert code == 0, err
    run = out.strip().splitlines()[-1]
    _, out, _ = call(capsys, "runs", "--json")
    assert [(row["id"], row["state"]) for row in json.loads(out)["runs"]] == [(run, "done")]
    _, out, _ = call(capsys, "show", run, "--json")
    shown = json.loads(out)
    assert shown["spec"]["seed"] == 4
    assert len(shown["validation"]) == 2
    assert shown["evaluations"][0]["split"] == "test"
    _, out, _ = call(capsys, "evaluate", run, "--data", lenses, "--json")
    report = json.loads(out)
    assert set(report) >= {"run", "data", "split", "n", "metrics", "rows"}
    assert set(report["metrics"]) >= {"auc_macro", "auc_no", "auc_sphere", "auc_vort", "accuracy", "f1_macro", "ece"}
    assert report["n"] == len(open_dataset(lenses).rows("test"))
    for i in range(3):
        np.save(tmp_path / f"image{i}.npy", open_dataset(lenses).images[i])
    files = sorted(tmp_path.glob("image*.npy"))
    code, out, _ = call(capsys, "predict", run, *files, "--out", tmp_path / "classes.csv", "--pixel-scale", 0.101)
    assert code == 0
    lines = (tmp_path / "classes.csv").read_text().splitlines()
    assert lines[0] == "name,ra,dec,class,score,p_no,p_sphere,p_vort,warning"
    assert len(lines) == 4


def test_the_process_itself(tmp_path):
    """stdout of ``--json`` is one object; exit codes leave the process."""
    command = [sys.executable, "-m", "deeplense_core"]
    good = subprocess.run([*command, "models", "--json"], cwd=ROOT, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    assert {"d4net", "resnet18", "resnet50", "timm:<name>"} <= set(json.loads(good.stdout)["architectures"])
    bad = subprocess.run([*command, "simulate", "comon-test", "--count", "3", "--out", str(tmp_path / "x")],
                         cwd=ROOT, capture_output=True, text=True)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr.strip() == "Error: Unknown recipe 'comon-test'. Did you mean 'common-test'?"


def one_class(folder):
    with DatasetWriter(folder, classes=("no",), shape=(1, 32, 32), source={"kind": "test"}) as out:
        out.append(np.random.default_rng(0).random((30, 1, 32, 32), dtype=np.float32), {"label": np.full(30, "no")})
        out.finish()
    return folder


@pytest.mark.parametrize(("words", "said"), [
    ("train classify --data /no/such/set --model d4net", "/no/such/set"),
    ("train classify --data sim:model-2 --model d5net", "Did you mean 'd4net'?"),
    ("train classify --data sim:model-2 --model d4net --set epoch=1", "Did you mean 'epochs'?"),
    ("train classify --data sim:model-2 --model d4net --set epochs", "is not KEY=VALUE"),
    ("train classify --data sim:model-2 --model d4net --set epochs=1 --set epochs=2", "given twice"),
    ("train classify --data {one} --model d4net", "only class 'no'"),
    ("train sort --data {one} --model d4net", "Unknown task 'sort'"),
    ("simulate model-2 --count 0 --out {tmp}/new", "0 images"),
    ("simulate model-2 --count 3 --out {one}", "exists"),
    ("ingest {tmp}/nothing --out {tmp}/new", "nothing"),
    ("ingest {empty} --out {tmp}/new", "empty"),
    ("evaluate nothing --data {one}", "no run or shipped model 'nothing'"),
    ("show nothing", "nothing"),
    ("predict common-test x.npy --out {tmp}/a.txt", "ends in '.txt'"),
    ("bench nothing", "Unknown bench 'nothing'"),
    ("fly", "fly"),
])
def test_one_clear_line(words, said, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = {"one": one_class(tmp_path / "one"), "tmp": tmp_path, "empty": tmp_path / "empty"}
    code, out, err = call(capsys, *words.format(**places).split())
    assert code == 2
    assert out == ""
    assert said in err
    assert err.startswith("Error: ")
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_ingest_tells_what_it_left_out(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("no", "sphere"):
        (tmp_path / "src" / name).mkdir(parents=True)
        for i in range(12):
            np.save(tmp_path / "src" / name / f"{i}.npy", rng.random((1, 32, 32)))
    bad = rng.random((1, 32, 32))
    bad[0, 3, 3] = np.nan
    np.save(tmp_path / "src" / "no" / "bad.npy", bad)
    code, out, err = call(capsys, "ingest", tmp_path / "src", "--out", tmp_path / "set")
    assert code == 0
    assert len(open_dataset(out.strip())) == 24
    assert "Skipped 1: " in err


def test_settings_can_be_listed(capsys):
    code, out, _ = call(capsys, "train", "classify", "--data", "x", "--model", "d4net", "--list")
    assert code == 0
    assert "width = 8" in out
    assert "curriculum_start = 10.0" in out


def test_published_images_are_classified(lenses, real_images, tmp_path, capsys):
    """The three published 64 x 64 images: each gets a row and a warning that its pixel scale is unknown."""
    _, out, _ = call(capsys, "train", "classify", "--data", lenses, "--model", "d4net", *QUICK, "--device", "cpu")
    run = out.strip().splitlines()[-1]
    code, out, _ = call(capsys, "predict", run, real_images / "deeplense", "--out", tmp_path / "out.json")
    assert code == 0
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["lucas_axion.npy", "lucas_cdm.npy", "lucas_nosub.npy"]
    assert all(abs(row["p_no"] + row["p_sphere"] + row["p_vort"] - 1) < 1e-9 for row in rows)


def test_interrupted_work_says_how_it_goes_on(capsys):
    def work():
        with resumable("working") as update:
            update(1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "The same command goes on from here." in capsys.readouterr().err


def test_what_was_skipped_is_said_on_stderr(capsys):
    tell_skipped(SimpleNamespace(taken_up=3, failed=2, failed_file="bad.csv"), "images")
    said = capsys.readouterr()
    assert said.out == ""
    assert "3 images were done" in said.err
    assert "Skipped 2 images: bad.csv says why" in said.err
    tell_skipped(SimpleNamespace(taken_up=0, failed=0, failed_file=None), "images")
    assert capsys.readouterr().err == ""
