"""Tables of quality and speed: rows of the same data together, others apart, benches kept and never half."""

import json
import subprocess

import numpy as np
import pytest

from deeplense_core import bench, cli, results
from deeplense_core.bench.memory import peak_of
from deeplense_core.results import bench_rows, keep_bench, kept_benches, quality
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import results_dir

ROW = {"ours": 10.0, "peer": 4.0, "ratio": 2.5, "limit": 20.0, "unit": "images/s",
       "machine": {"cpu": "a", "cores": 2, "gpus": []}}  # fmt: skip


def report(run: str, fingerprint: str, value: float, split: str = "test", count: int = 90) -> dict:
    metric = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {"run": run, "task": "classify", "data": f"/sets/{fingerprint}", "split": split, "n": count,
            "metrics": {"auc_macro": metric}, "rows": {"chance": {"auc_macro": {**metric, "value": 0.5}}},
            "data_fingerprint": fingerprint, "time": 1.0, "classes": ["a", "b"]}  # fmt: skip


def keep(run: str, **facts) -> None:
    made = report(run, **facts)
    folder = results_dir(run) / "evaluations" / f"{made['data_fingerprint']}-{made['split']}"
    folder.mkdir(parents=True)
    atomic_write(folder / "report.json", json.dumps(made).encode())


def test_what_ships_stands_in_tables_with_baselines_last():
    found = {(table.task, table.data): table for table in quality()}
    table = found["classify", "common-test, seed 2"]
    assert next(iter(table.rows)) == "common-test"
    assert list(table.rows)[-2:] == ["chance", "majority class"]
    assert table.commands[0].startswith("simulate common-test --count 3000 --seed 2")
    fine = found["superres", "sr-pairs, seed 2"]
    assert list(fine.rows)[:4] == ["edsr-x2", "edsr-x2 x8", "esrgan-x2", "esrgan-x2 x8"]
    assert fine.networks == ("edsr-x2", "edsr-x2 x8", "esrgan-x2", "esrgan-x2 x8")


def test_rows_of_different_data_or_splits_never_share_a_table():
    keep("common-test", fingerprint="one", value=0.9)
    keep("common-test", fingerprint="two", value=0.8)
    keep("common-test", fingerprint="one", value=0.7, split="val")
    here = [table for table in quality() if table.data[:3] in ("one", "two")]
    assert sorted((table.data, table.rows["common-test"]["auc_macro"]["value"]) for table in here) == [
        ("one (test)", 0.9), ("one (val)", 0.7), ("two (test)", 0.8)]  # fmt: skip
    assert all(list(table.rows) == ["common-test", "chance"] for table in here)


def test_runs_on_the_same_data_share_one_even_by_the_same_name():
    from tests.pages.trained_run import fake_run

    runs = [fake_run("twin"), fake_run("twin")]
    for place, run in enumerate(runs):
        keep(run.id, fingerprint="same", value=0.6 + place / 10)
    table, = [table for table in quality() if table.data == "same (test)"]
    assert sorted(table.networks) == sorted(f"twin {run.id[-4:]}" for run in runs)
    assert list(table.rows)[-1] == "chance"
    assert len(table.commands) == 2


def test_a_baseline_is_none_of_a_run_whose_name_begins_like_it():
    from tests.pages.trained_run import fake_run

    run = fake_run("ch")
    keep(run.id, fingerprint="own", value=0.9)
    table, = [table for table in quality() if table.data == "own (test)"]
    assert table.networks == ("ch",)
    assert list(table.rows) == ["ch", "chance"]


def test_fresh_simulations_of_different_length_never_share_a_table():
    """A quick run is tested on 300 images, others on 3,000: the fingerprint of the recipe and seed is the same."""
    from tests.pages.trained_run import fake_run

    for count in (300, 3000):
        keep(fake_run(f"of {count}").id, fingerprint="sim-common-test-0", value=0.9, count=count)
    here = [table for table in quality() if table.data == "sim-common-test-0 (test)"]
    assert sorted((table.n, *table.networks) for table in here) == [(300, "of 300"), (3000, "of 3000")]


def test_the_run_that_ships_has_its_table():
    from deeplense_core.shelf.examples import example_runs, open_example

    open_example(example_runs()[0])
    table, = [table for table in quality() if table.data == "sim:common-test (test)"]
    assert list(table.rows) == ["D4Net on common-test", "chance", "majority class"]
    assert table.task == "classify"


def test_published_numbers_are_in_no_table():
    numbers = json.dumps([table.rows for table in quality()])
    assert results.PUBLISHED
    assert all(one.who not in numbers for one in results.PUBLISHED)


def test_a_bench_is_kept_and_replaces_the_one_that_ships():
    assert all(found.shipped for found in kept_benches())
    keep_bench("lenstronomy-auc", {"x": ROW}, 3.21, 0.456)
    found, = [one for one in kept_benches() if one.name == "lenstronomy-auc"]
    assert (found.shipped, found.seconds, found.load, found.rows) == (False, 3.2, 0.46, {"x": ROW})
    row, = bench_rows(found)
    assert (row["against"], row["machine"]) == ("skies by our own simulator", "a, 2 cores, no GPU")
    assert bench_rows(results.Bench("x", {"y": {**ROW, "peer_name": "theirs"}}, 0, 0, 0))[0]["against"] == "theirs"


def test_bench_all_runs_each_in_a_process_and_tells_what_failed(monkeypatch, capsys):
    def run(command, **kwargs):
        name = command[-2]
        if name == "second":
            return subprocess.CompletedProcess(command, 2, "", "a line\nError: no compiler")
        return subprocess.CompletedProcess(command, 0, json.dumps({f"{name}_row": ROW}), "")

    monkeypatch.setattr(bench, "BENCHES", dict.fromkeys(["first", "second", "third"], "x"))
    monkeypatch.setattr(bench.subprocess, "run", run)
    assert cli.main(["bench", "all", "--json"]) == 1
    told = capsys.readouterr()
    assert list(json.loads(told.out)) == ["first_row", "third_row"]
    assert "second failed: no compiler" in told.err
    failed, = [one for one in kept_benches() if one.name == "second"]
    assert (failed.failed, failed.rows) == ("no compiler", {})
    assert cli.main(["bench"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "2.5" in lines[1]
    assert lines[-1] == "a, 2 cores, no GPU"


def test_a_bench_by_name_is_kept(monkeypatch, capsys):
    class Module:
        @staticmethod
        def run():
            return {"row": {**ROW, "peer": None, "ratio": None, "limit": None}}

    monkeypatch.setattr(bench, "BENCHES", {"mine": "mine"})
    monkeypatch.setattr(bench.importlib, "import_module", lambda name: Module)
    assert cli.main(["bench", "mine"]) == 0
    assert "row" in capsys.readouterr().out
    assert [one.name for one in kept_benches() if not one.shipped] == ["mine"]


@pytest.mark.parametrize("name", list(bench.BENCHES))
def test_every_bench_is_there_and_says_what_it_is_against(name):
    import importlib.util

    assert importlib.util.find_spec(f"deeplense_core.bench.{bench.BENCHES[name]}")


@pytest.mark.long
def test_skies_by_lenstronomy_get_the_same_auc():
    from deeplense_core.bench.lenstronomy_auc import run

    row = run(600)["auc_on_lenstronomy_skies"]
    assert row["difference"]["low"] <= 0 <= row["difference"]["high"]
    assert row["low"] <= row["peer"] <= row["high"]


def test_skies_by_lenstronomy_are_the_same_skies():
    from deeplense_core.bench.lenstronomy_auc import both_skies

    theirs, ours, labels = both_skies(6)
    assert theirs.shape == ours.shape == (6, 1, 150, 150)
    assert sorted(set(labels.tolist())) == [0, 1, 2]
    assert abs(theirs - ours)[..., 10:-10, 10:-10].max() < 0.06  # a photon more or less, here and there
    assert abs(theirs - ours).mean() < 1e-3


def test_the_memory_of_a_bench_is_its_own_process_alone():
    """Linux lets a process begin with the peak of the one that started it; a bench holds much by then."""
    held = np.ones(300 * 2**17)  # 300 MB
    assert 100 < peak_of("import sys\nx = bytearray(int(sys.argv[1]) * 2**20)", 100) < 200
    assert held[-1] == 1
