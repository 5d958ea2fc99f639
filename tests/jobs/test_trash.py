"""What is deleted comes back whole, and what is in use stays."""

import json

import numpy as np
import pytest

from deeplense_core import trash
from deeplense_core.cli import main
from deeplense_core.data import DatasetWriter, list_datasets, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.machine import identity
from deeplense_core.runs import Run, list_runs, open_run
from deeplense_core.spec import RunSpec
from deeplense_core.workspace import datasets_dir


def write_dataset(name: str = "lenses") -> None:
    with DatasetWriter(datasets_dir() / name, classes=("no", "sphere"), shape=(1, 8, 8), source={"kind": "test"}) as to:
        images = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
        to.append(images, {"label": ["no", "sphere"] * 2, "split": ["train", "train", "val", "test"]})
        to.finish()


def make_run(data: str = "sim:common-test", **settings) -> Run:
    return Run.create(RunSpec("classify", data, "d4net", train_settings=settings, name="mine"))


def names(kind: str) -> list[str]:
    return [one.name for one in trash.contents() if one.kind == kind]


@pytest.fixture
def run(workspace) -> Run:
    made = make_run()
    made.set_status(state="done", note="mine")
    return made


def test_a_deleted_run_comes_back(run):
    trash.delete(run.id)
    assert list_runs() == []
    with pytest.raises(UserError):
        open_run(run.id)
    assert names(trash.RUN) == [run.id]
    trash.restore(run.id)
    assert open_run(run.id).status.note == "mine"
    assert [row.id for row in list_runs()] == [run.id]
    assert trash.contents() == []
    with pytest.raises(UserError, match="There is no"):
        trash.restore(run.id)


def test_an_active_run_is_not_deleted(run):
    run.set_status(state="running")
    run.set_worker(identity(), role="submitter")
    with pytest.raises(UserError, match="is running. Cancel it before you delete it"):
        trash.delete(run.id)
    assert [row.id for row in list_runs()] == [run.id]


@pytest.mark.parametrize("named", ["name", "folder"])
def test_a_deleted_data_set_comes_back(workspace, named):
    write_dataset()
    before = open_dataset(datasets_dir() / "lenses").fingerprint
    trash.delete("lenses" if named == "name" else str(datasets_dir() / "lenses"))
    assert list_datasets() == []
    assert names(trash.DATA_SET) == ["lenses"]
    trash.restore("lenses")
    assert open_dataset(datasets_dir() / "lenses").fingerprint == before


@pytest.mark.parametrize("use", ["data", "target"])
def test_a_data_set_that_a_run_reads_is_not_deleted(workspace, use):
    write_dataset()
    folder = str(datasets_dir() / "lenses")
    run = make_run(folder) if use == "data" else make_run(target=folder)
    with pytest.raises(UserError, match=f"Run {run.id} is reading 'lenses'. Cancel it"):
        trash.delete("lenses")
    assert [dataset.path.name for dataset in list_datasets()] == ["lenses"]
    run.set_status(state="done")
    trash.delete("lenses")
    assert list_datasets() == []


def test_of_two_with_one_name_the_last_is_in_the_trash(workspace):
    write_dataset()
    trash.delete("lenses")
    write_dataset()
    with pytest.raises(UserError, match="There is a data set 'lenses' again"):
        trash.restore("lenses")
    trash.delete("lenses")
    assert names(trash.DATA_SET) == ["lenses"]


@pytest.mark.parametrize("wrong", ["", ".", "..", ".trash", "../runs", "x" * 5000, "a\0b", "nothing"])
def test_nothing_else_is_deleted_or_restored(run, wrong):
    write_dataset()
    for act in (trash.delete, trash.restore):
        with pytest.raises(UserError, match=r"There is no|is not"):
            act(wrong)
    assert len(list_runs()) == len(list_datasets()) == 1


def test_a_data_set_outside_the_workspace_stays(workspace, tmp_path, monkeypatch):
    write_dataset()
    outside = tmp_path / "outside"
    (datasets_dir() / "lenses").rename(outside)
    with pytest.raises(UserError, match="is not a data set of the workspace"):
        trash.delete(str(outside))
    assert (outside / "manifest.json").exists()


def test_from_the_command_line(run, capsys):
    write_dataset()
    assert main(["delete", run.id, "lenses"]) == 0
    assert "to bring it back: python -m deeplense_core restore lenses" in capsys.readouterr().out
    assert main(["trash", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trash"]
    assert {row["name"] for row in rows} == {run.id, "lenses"}
    assert all(row["bytes"] > 100 for row in rows)
    assert main(["restore", "lenses"]) == 0
    assert main(["trash", "--empty"]) == 0
    assert "MB freed" in capsys.readouterr().out
    assert trash.contents() == []
    assert [dataset.path.name for dataset in list_datasets()] == ["lenses"]
    assert main(["restore", run.id]) == 2
    assert "It is empty." in capsys.readouterr().err
