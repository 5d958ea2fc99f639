"""Commands about runs: train, list, show, stop, go on."""

from __future__ import annotations

import json
import sys

from deeplense_core.cli.arguments import Verb, interval, json_flag, say, settings, settings_flag


def add_commands(verb: Verb) -> None:
    """Adds ``train``, ``runs``, ``show``, ``cancel``, ``resume``, ``reindex`` and ``work``."""
    sub = verb("train", _train, "Train a network; the last line of stdout is the run id.")
    sub.add_argument("task", metavar="TASK")
    sub.add_argument("--data", required=True, metavar="DIR|sim:RECIPE")
    sub.add_argument("--model", required=True, metavar="NAME")
    settings_flag(sub, "of model, training and task; 'train TASK --model NAME --data x --list' shows them")
    sub.add_argument("--list", action="store_true", help="list every setting and stop")
    sub.add_argument("--seed", type=int, default=0, metavar="S")
    sub.add_argument("--where", default="here", choices=("here", "local"))
    sub.add_argument("--name", default="", metavar="TEXT")
    sub.add_argument("--device", default="auto", metavar="D")

    sub = verb("runs", _runs, "List all runs.")
    json_flag(sub)
    sub = verb("show", _show, "Show one run.")
    sub.add_argument("run", metavar="RUN")
    json_flag(sub)
    sub = verb("cancel", _cancel, "Stop a run.")
    sub.add_argument("run", metavar="RUN")
    sub = verb("resume", _resume, "Go on with a run that was cancelled, failed or lost.")
    sub.add_argument("run", metavar="RUN")
    sub.add_argument("--where", default="here", choices=("here", "local"))
    verb("reindex", _reindex, "Rebuild the index of runs.")
    sub = verb("work", _work, "Carry out a queued run; started by the queue.")
    sub.add_argument("run_dir", metavar="RUN_DIR")


def _train(args) -> int:
    from deeplense_core import jobs, train

    if args.list:
        for name, k in train.settings_of(args.task, args.model).items():
            bounds = f" ({', '.join(map(str, k.choices))})" if k.choices else ""
            print(f"{name} = {k.default}{' ' + k.unit if k.unit else ''}{bounds}: {k.help}")
        return 0
    spec = train.plan(args.task, args.data, args.model, settings(args.set), args.seed, args.name, args.device)
    run = jobs.submit(spec, where=args.where)
    return _ended(run, args.where)


def _ended(run, where: str) -> int:
    """Prints the run id last; a run that failed here and now is this command's failure too."""
    status = run.status
    failed = where == "here" and status.state not in ("done", "cancelled")
    if failed:
        print(f"Error: run {run.id} {status.state}: {status.cause}", file=sys.stderr)
    print(run.id)
    return (2 if status.mendable else 1) if failed else 0


def _runs(args) -> None:
    from dataclasses import asdict

    from deeplense_core.runs import list_runs

    rows = list_runs()
    if args.json:
        return say({"runs": [asdict(row) for row in rows]})
    for row in rows:
        best = f"{row.best_name} {row.best:.4f}" if row.best is not None else ""
        print(f"{row.id:52} {row.state:10} {row.progress:4.0%}  {row.task:9} {row.model:14} {best}")
    if not rows:
        print("No runs yet. Start one with: python -m deeplense_core train classify --data sim:common-test "
              "--model d4net")
    return None


def _show(args) -> None:
    from dataclasses import asdict

    from deeplense_core.evaluations.predictions import evaluations
    from deeplense_core.jobs import refresh
    from deeplense_core.runs import open_run

    run = open_run(args.run)
    status = refresh(run)
    reports = [report for _, report in evaluations(run.id)]
    val = run.metrics("val")
    if args.json:
        return say({"run": run.id, "spec": json.loads(run.spec.to_json()), "status": asdict(status),
                    "validation": val, "evaluations": reports})
    print(f"{run.id}: {status.state} {status.cause}".rstrip())
    print(f"  {run.spec.task} with {run.spec.model} on {run.spec.data}, seed {run.spec.seed}; {status.note}")
    for row in val[-3:]:
        print("  validation " + "  ".join(f"{k} {v:.4f}" for k, v in row.items() if isinstance(v, float)
                                          and k != "time"))
    for report in reports:
        print(f"  {report['split']} of {report['data']} ({report['n']} images): "
              f"{interval(report, next(iter(report['metrics'])))}")
    return None


def _cancel(args) -> None:
    from deeplense_core import jobs
    from deeplense_core.runs import open_run

    jobs.cancel(open_run(args.run))


def _resume(args) -> int:
    from deeplense_core import jobs
    from deeplense_core.runs import open_run

    return _ended(jobs.resume(open_run(args.run), where=args.where), args.where)


def _reindex(args) -> None:
    from deeplense_core.runs import reindex

    print(f"{reindex()} runs")


def _work(args) -> int:
    from deeplense_core.work import work

    return work(args.run_dir)
