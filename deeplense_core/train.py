"""Training: one plan, one loop, whatever the task.

The loop holds no mathematics of a task (``task.step``) and no state beyond what a checkpoint holds: the
order of images and every random draw are functions of (seed, epoch, step), so a resumed run on CPU repeats
the uninterrupted one bit for bit.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from deeplense_core import samples
from deeplense_core.adapt import with_target
from deeplense_core.errors import UserError
from deeplense_core.models import build_model, check_model, learns, model_entry
from deeplense_core.models.weights import start_from
from deeplense_core.precision import best_device, faster_precision
from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.runs import Run
from deeplense_core.shelf.cards import find_card
from deeplense_core.sim.dataset import WORTH_COMPILING
from deeplense_core.sim.partners import AUGMENT
from deeplense_core.sources import Images, OnlineConfig, Source, describe, generator, open_source
from deeplense_core.spec import Knob, RunSpec, config_from, knob, knobs, split_settings
from deeplense_core.ssl.first_head import begin_as_probe
from deeplense_core.tasks import TASKS, StepOut, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

Report = Callable[[Mapping[str, Any]], None]
COMPILE_PAYS_FROM = 40_000
"""Images of a run from which the minute that a network's compilation takes is won back."""
LOOK_BATCHES, LOOK_BATCH = 16, 256
"""Training images from which a last layer begins where an encoder is the start."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the loop, the same for every task."""

    epochs: int = knob(20, "Passes over the training images", ge=1, le=10_000, quick=2, group="training")
    batch_size: int = knob(96, "Images a step", ge=2, le=4096, group="training")
    lr: float = knob(1e-3, "Peak learning rate of AdamW", ge=1e-6, le=1, group="training")
    weight_decay: float = knob(0.05, "Decoupled weight decay", ge=0, le=1, group="training")
    warmup: float = knob(0.05, "Part of the training over which the learning rate rises", ge=0, le=0.5,
                         group="training")
    grad_clip: float = knob(1.0, "Largest norm of the gradient; 0 leaves it alone", ge=0, le=100,
                            group="training")
    ema: float = knob(0.998, "Decay of the moving average of the weights that is evaluated; 0 turns it off",
                      ge=0, le=0.99999, group="training")
    patience: int = knob(10, "Epochs without a better validation before it stops early; 0 never stops",
                         ge=0, le=1000, group="training")
    init: str = knob("", "Run, or shipped model, whose weights it starts from wherever name and shape fit; empty "
                     "starts anew. From an encoder, a classifier's last layer begins as a linear probe",
                     group="training")
    precision: str = knob("auto", "Arithmetic: auto measures which is faster here",
                          choices=("auto", "float32", "bf16"), group="speed")
    compile: str = knob("auto", "torch.compile: auto compiles the simulator, and networks that it makes faster, where "
                        "the run is long enough to win it back",
                        choices=("auto", "on", "off"), group="speed")


def setting_classes(task: str, model: str) -> tuple[type, ...]:
    """Every settings class of a run, the model's own first; a model may bring others that its task reads."""
    entry = model_entry(model)
    own = [entry.config] if entry.config else []
    return (*own, TrainConfig, *TASKS[task].about["configs"], *entry.about.get("brings", ()), OnlineConfig)


def settings_of(task: str, model: str) -> dict[str, Knob]:
    """Every setting that ``train`` takes for this task and model, by name: for forms, flags and docs."""
    own = default_settings(task, model)
    return {name: replace(k, default=own.get(name, k.default))
            for config in setting_classes(task, model) for name, k in knobs(config).items()}


def default_settings(task: str, model: str) -> dict[str, Any]:
    """Defaults of this task and this model that are not those of the settings' classes."""
    return {**TASKS[task].about.get("defaults", {}), **model_entry(model).about.get("defaults", {})}


def plan(
    task: str, data: str, model: str, settings: Mapping[str, Any], seed: int = 0, name: str = "",
    device: str = "auto",
) -> RunSpec:
    """A run with every default resolved and everything checked that can be checked before it starts.

    Raises:
        UserError: unknown task, model or setting, a value out of bounds, data that cannot serve.
    """
    entry = TASKS[task]
    if task not in model_entry(model).about["tasks"]:
        raise UserError(f"Model {model!r} is not made for task {task!r}.")
    if not learns(model_entry(model)):
        raise UserError(f"{model!r} has nothing to learn: use it as it is, with evaluate and predict.")
    check_model(model)
    if not 0 <= seed < 2**31:
        raise UserError(f"seed = {seed} must be between 0 and 2147483647.")
    classes = setting_classes(task, model)
    resolved = split_settings({**default_settings(task, model), **settings}, *classes)
    model_settings = resolved.pop(0) if model_entry(model).config else {}
    train_settings = {key: value for part in resolved for key, value in part.items()}
    chosen = choose_device(device)
    if train_settings["init"]:
        check_start(train_settings["init"], model)
    entry.build(train_settings, describe(data))
    return RunSpec(task, data, model, model_settings, train_settings, {"device": chosen}, seed, name)


def check_start(name: str, model: str) -> None:
    """Raises a UserError where a network of this kind cannot start from the weights of run ``name``."""
    known = find_card(name).card["model"]
    if known != model:
        raise UserError(f"init = {name!r} is a {known}, and a {model} cannot start from its weights. "
                        f"Train a {known}, or leave init empty.")


def choose_device(device: str) -> str:
    """``auto`` as the device there is.

    Raises:
        UserError: ``cuda`` asked for where there is none, or another word.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"Unknown device {device!r}. Choose from: auto, cpu, cuda.")
    there = best_device()
    if device == "cuda" and there != "cuda":
        raise UserError("No CUDA device was found. Use --device cpu, or auto.")
    return there if device != "cpu" else "cpu"


@dataclass
class State:
    """What a checkpoint holds beside the tensors."""

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    stale: int = 0


@dataclass
class Setup:
    """Everything the loop works on, built from a spec alone."""

    fabric: Fabric
    task: Task
    source: Source
    cfg: TrainConfig
    net: nn.Module
    model: nn.Module
    shadow: nn.Module
    companion: nn.Module | None
    optimizer: torch.optim.Optimizer
    steps: int
    seed: int
    state: State = field(default_factory=State)

    @property
    def total(self) -> int:
        return self.steps * self.cfg.epochs


def train(run: Run, report: Report = lambda _: None) -> str:
    """Trains the run in its folder and returns ``done`` or ``cancelled``.

    Continues from the latest good checkpoint. Out of memory on a GPU is tried once more at half the batch.
    """
    try:
        return _train(run, report, halve=False)
    except torch.OutOfMemoryError:
        run.log("info", 0, text="The GPU ran out of memory: trying once more with half the batch.")
    torch.cuda.empty_cache()
    return _train(run, report, halve=True)


def _train(run: Run, report: Report, halve: bool) -> str:
    job = setup(run.spec, halve)
    _restore(run, job)
    run.log("info", 0, text=f"{type(job.net).__name__}: {parameters(job.net):,} parameters, "
            f"{job.fabric.device}, {job.fabric._precision.precision}, weights: {origin(job.net)}")
    val = job.source.part("val")
    if not len(val):
        raise UserError(f"Data set {run.spec.data!r} has an empty val split: validation picks the best epoch.")
    state, pace = job.state, Pace(run, job, report)
    while state.epoch < job.cfg.epochs:
        while state.step < job.steps:
            out = train_step(job)
            state.step += 1
            pace.tick(out)
            if run.should_stop():
                _save(run, job)
                return "cancelled"
            if pace.checkpoint_due():
                _save(run, job)
        _validate(run, job, val, report)
        state.epoch, state.step = state.epoch + 1, 0
        _save(run, job)
        pace.restart()
        if job.cfg.patience and state.stale >= job.cfg.patience:
            run.log("info", state.epoch, text=f"Stopped early: no better {job.task.best} for "
                    f"{state.stale} epochs.")
            break
    return "done"


def setup(spec: RunSpec, halve: bool = False) -> Setup:
    """Device, data, task, network and optimizer of a spec, freshly initialised from its seed."""
    from lightning_fabric import Fabric  # slow to import, and pages that only plan a run do not need it

    cfg = config_from(TrainConfig, spec.train_settings)
    if halve:
        cfg = TrainConfig(**{**cfg.__dict__, "batch_size": max(2, cfg.batch_size // 2)})
    device = choose_device(spec.resources.get("device", "auto"))
    precision = faster_precision(device) if cfg.precision == "auto" else cfg.precision
    fabric = Fabric(accelerator=device, devices=1,
                    precision="bf16-mixed" if precision == "bf16" else "32-true")
    online = config_from(OnlineConfig, spec.train_settings)
    may_compile = cfg.compile == "auto" and shutil.which("c++") is not None
    fast_sky = cfg.compile == "on" or (may_compile and cfg.epochs * online.images_per_epoch >= WORTH_COMPILING)
    source = open_source(spec.data, online, spec.seed, fabric.device, fast_sky, TASKS[spec.task].about["labelled"],
                         spec.train_settings.get("pairs", AUGMENT))
    source = with_target(source, spec.train_settings, spec.seed, fabric.device, fast_sky, online)
    steps = source.steps(cfg.batch_size)
    task: Task = TASKS[spec.task].build(spec.train_settings, source.info)
    task.look(source)
    torch.manual_seed(spec.seed)
    net = initial_net(spec, cfg.init, task)
    net = net.to(memory_format=torch.channels_last).to(fabric.device)  # pyright: ignore[reportCallIssue]
    if TASKS[spec.task].about.get("calibrated") and cfg.init and find_card(cfg.init).card["task"] == "ssl":
        begin_as_probe(net, _first_look(source, config_from(PreprocessConfig, spec.train_settings)),
                       len(source.info.classes))
    shadow = copy.deepcopy(net).eval().requires_grad_(False)
    companion = task.companion(net)
    if companion is not None:
        companion = companion.to(fabric.device)
    learning = nn.ModuleList([net] if companion is None else [net, companion])
    optimizer = torch.optim.AdamW(_groups(learning, cfg.weight_decay), lr=cfg.lr, fused=True)
    compiled = cfg.compile == "on" or (
        may_compile and (device == "cuda" or getattr(net, "compiling_pays", False))
        and cfg.epochs * steps * cfg.batch_size >= COMPILE_PAYS_FROM
    )
    made = torch.compile(net) if compiled else net
    model, optimizer = fabric.setup(made, optimizer)  # pyright: ignore[reportArgumentType]
    return Setup(fabric, task, source, cfg, net, model, shadow, companion, optimizer, steps, spec.seed)


def initial_net(spec: RunSpec, init: str, task: Task) -> nn.Module:
    """The network as its builder makes it, or with the weights of run ``init``."""
    if not init:
        return build_model(spec.model, spec.model_settings, **task.model_args())
    settings = {name: value for name, value in spec.model_settings.items() if name != "pretrained"}
    fetched = {"pretrained": False} if "pretrained" in spec.model_settings else {}  # they would be overwritten
    net = build_model(spec.model, settings | fetched, **task.model_args())
    start_from(net, load_tensors((find_card(init).folder / "model.safetensors").read_bytes()), init)
    return net


def _first_look(source: Source, cfg: PreprocessConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Some preprocessed training images and their labels, as they are at the end of the training."""
    steps = source.steps(LOOK_BATCH)
    for step in range(max(0, steps - LOOK_BATCHES), steps):
        batch = source.batch(0, step, LOOK_BATCH, steps)
        yield preprocess(batch.images, cfg), batch.labels


def _groups(net: nn.Module, weight_decay: float) -> list[dict]:
    """Norms and biases are not decayed; what needs no gradient (a teacher) is left alone."""
    learning = [p for p in net.parameters() if p.requires_grad]
    wide = [p for p in learning if p.ndim > 1]
    narrow = [p for p in learning if p.ndim <= 1]
    return [{"params": wide, "weight_decay": weight_decay}, {"params": narrow, "weight_decay": 0.0}]


def train_step(job: Setup) -> StepOut:
    """One batch forward, back, and into the weights and their average. Returns the outcome, detached."""
    epoch, step = job.state.epoch, job.state.step
    done = epoch * job.steps + step
    for group in job.optimizer.param_groups:
        group["lr"] = job.cfg.lr * schedule(done / job.total, job.cfg.warmup)
    batch = job.source.batch(epoch, step, job.cfg.batch_size, job.total)
    draw = generator(job.seed, epoch, step)
    torch.manual_seed(draw.initial_seed() & 0x7FFFFFFF)  # dropout too is a function of (seed, epoch, step)
    job.model.train()
    with job.fabric.autocast():
        out = job.task.step(job.model, batch, draw, done / job.total)
    job.fabric.backward(out.loss)
    if job.cfg.grad_clip:
        job.fabric.clip_gradients(job.model, job.optimizer, max_norm=job.cfg.grad_clip, error_if_nonfinite=False)
    job.optimizer.step()
    job.optimizer.zero_grad(set_to_none=True)
    average_weights(job.shadow, job.net, min(job.cfg.ema, (1 + done) / (10 + done)))
    return StepOut(out.loss.detach(), out.logs, out.warning)


def schedule(progress: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to 1 % of the peak; ``progress`` runs from 0 to 1."""
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


@torch.no_grad()
def average_weights(shadow: nn.Module, net: nn.Module, decay: float) -> None:
    """Moves ``shadow`` towards ``net``: weights and float buffers averaged, counters copied."""
    old, new = shadow.state_dict(), net.state_dict()
    floats = [name for name, value in old.items() if value.is_floating_point()]
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        [old[n] for n in floats], [new[n] for n in floats], 1 - decay
    )
    for name in old.keys() - set(floats):
        old[name].copy_(new[name])


def _validate(run: Run, job: Setup, val: Images, report: Report) -> None:
    """Scores the averaged weights, keeps them when they are the best so far."""
    state = job.state
    with job.fabric.autocast():
        outputs = job.task.predict(job.shadow, val, job.fabric.device, 4 * job.cfg.batch_size, averaged=False)
    scores = job.task.score(outputs, val)
    run.log("val", state.epoch + 1, **scores)
    better = job.source.blind or scores[job.task.best] > state.best
    if better:
        state.best, state.best_epoch, state.stale = scores[job.task.best], state.epoch + 1, 0
        export(run, job, outputs, val, scores)
        run.set_status(best=state.best, best_name=job.task.best)
    else:
        state.stale += 1
    _keep_samples(run, val, outputs, state.epoch + 1)
    report({"epoch": state.epoch + 1, "epochs": job.cfg.epochs, **scores, "better": better})


def _keep_samples(run: Run, val: Images, outputs: Any, epoch: int) -> None:
    """What the network says of a few images, for the reader who watches it learn."""
    shown = samples.places(len(val))
    rows = val.rows[shown]
    targets = np.array(val.targets[rows], np.float32) if val.targets is not None else None
    samples.keep(run, samples.Samples(np.array(val.store[rows], np.float32), np.asarray(outputs)[shown],
                                      val.labels[shown], targets, epoch))


def export(run: Run, job: Setup, outputs: Any, val: Any, scores: Mapping[str, float]) -> None:
    """Writes the network that ``predict`` and ``evaluate`` load: weights and a card of plain facts."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in job.shadow.state_dict().items()}
    info, spec = job.source.info, run.spec
    card = {
        "task": spec.task, "model": spec.model, "model_settings": {**spec.model_settings, "pretrained": False},
        "model_args": job.task.model_args(), "data": spec.data, "data_fingerprint": info.fingerprint,
        "seed": spec.seed, "test_images": spec.train_settings["test_images"],
        "shape": list(info.shape), "pixel_scale_arcsec": info.pixel_scale_arcsec,
        "pixel_scale_range_arcsec": info.pixel_scale_range_arcsec, "bands": list(info.bands),
        "target_shape": info.target_shape, "target_pixel_scale_arcsec": info.target_pixel_scale_arcsec,
        "epoch": job.state.epoch + 1, "weights_origin": origin(job.net),
        "validation": dict(scores), **job.task.card(outputs, val),
    }
    if "pretrained" not in spec.model_settings:
        del card["model_settings"]["pretrained"]
    run.save_file("model.safetensors", save_tensors(tensors))
    run.save_file("model.json", json.dumps(card, indent=1).encode())


def _save(run: Run, job: Setup) -> None:
    """Everything an exact resume needs, loadable with ``weights_only=True``."""
    payload = io.BytesIO()
    torch.save({
        "net": job.net.state_dict(), "shadow": job.shadow.state_dict(),
        "companion": job.companion.state_dict() if job.companion is not None else {},
        "optimizer": job.optimizer.state_dict(), "state": vars(job.state), "batch_size": job.cfg.batch_size,
    }, payload)
    run.save_checkpoint(f"{job.state.epoch:05d}-{job.state.step:07d}", payload.getvalue())


def _restore(run: Run, job: Setup) -> None:
    raw = run.latest_checkpoint()
    if raw is None:
        return
    saved = torch.load(io.BytesIO(raw), map_location=job.fabric.device, weights_only=True)
    if saved["batch_size"] != job.cfg.batch_size:
        return  # the batch was halved: steps no longer mean the same
    job.net.load_state_dict(saved["net"])
    job.shadow.load_state_dict(saved["shadow"])
    if job.companion is not None:
        job.companion.load_state_dict(saved["companion"])
    job.optimizer.load_state_dict(saved["optimizer"])
    job.state = State(**saved["state"])
    run.log("info", job.state.epoch, text=f"Resumed at epoch {job.state.epoch + 1}, step {job.state.step}.")


class Pace:
    """Tells how training goes about once a second, and when a checkpoint is due."""

    EVERY_S, CHECKPOINT_S = 1.0, 120.0

    def __init__(self, run: Run, job: Setup, report: Report):
        self.run, self.job, self.report = run, job, report
        self.said = self.saved = time.monotonic()
        self.outs: list[StepOut] = []
        self.warned = False

    def tick(self, out: StepOut) -> None:
        self.outs.append(out)
        now = time.monotonic()
        if now - self.said < self.EVERY_S:
            return
        job, state = self.job, self.job.state
        mean = sum(float(out.loss) for out in self.outs) / len(self.outs)
        logs = self._logs()
        if not math.isfinite(mean):
            raise UserError(f"The loss became {mean} in epoch {state.epoch + 1}: training diverged. "
                            "Lower lr, or check the data for extreme values.")
        rate = len(self.outs) * job.cfg.batch_size / (now - self.said)
        done = state.epoch * job.steps + state.step
        left = (job.total - done) * job.cfg.batch_size / rate
        lr = job.optimizer.param_groups[0]["lr"]
        self.run.log("train", done, loss=mean, lr=lr, images_per_s=rate, eta_s=left, epoch=state.epoch + 1,
                     **logs)
        self.run.set_status(progress=done / job.total, note=f"epoch {state.epoch + 1} of {job.cfg.epochs}, "
                            f"{rate:.0f} images/s{self._warning(done)}")
        self.report({"progress": done / job.total, "loss": mean, "images_per_s": rate, "eta_s": left,
                     "epoch": state.epoch + 1, "epochs": job.cfg.epochs})
        self.said, self.outs = now, []

    def _warning(self, done: int) -> str:
        """What the last step warns of, for the status; in the log once an epoch."""
        text = self.outs[-1].warning
        if text and not self.warned:
            self.run.log("info", done, text=text)
            self.warned = True
        return f". {text}" if text else ""

    def _logs(self) -> dict[str, float]:
        """Means of what the steps since the last word logged; a loss that sets in later is missing until then."""
        names = dict.fromkeys(name for out in self.outs for name in out.logs)
        values = {name: [float(out.logs[name]) for out in self.outs if name in out.logs] for name in names}
        return {name: sum(v) / len(v) for name, v in values.items()}

    def restart(self) -> None:
        """Validation takes time that is not training's: the next rate starts from here."""
        self.said, self.outs, self.warned = time.monotonic(), [], False

    def checkpoint_due(self) -> bool:
        now = time.monotonic()
        if now - self.saved < self.CHECKPOINT_S:
            return False
        self.saved = now
        return True


def parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def origin(net: nn.Module) -> str:
    """Where the initial weights came from, as the builder recorded it."""
    return str(getattr(net, "weights_origin", "random initialisation"))
