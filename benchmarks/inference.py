"""Inference of a network of the deployed size: every engine and precision there is here.

Hidden 512, feed-forward 3200, 4 encoder and 7 decoder layers, chunk 100, three 480x640 frames;
weights made by a rule. Speed is compared with the plain network as the public implementation
runs it (`benchmarks.plain`), in turns within one run, so that a busy machine is fair to all.

  engine, precision, device   what ran
  batch           observations in one pass
  known           frames of each observation that had not changed (exact reuse)
  p50_ms, p99_ms  of a pass
  per_s           observations a second, at p50
  speedup         of an observation against the plain one, at p50
  max_deviation   from the plain network in float32, of a normalised action
  peak_fraction   operations a second at p50, against the best of a matrix product and two
                  convolutions of this network's own shapes in torch, in the same precision
  load_s, load_mb time and most memory of loading it, in a process of its own; the weights
                  have 336 MB in the checkpoint
  device_mb       of a CUDA device's memory that torch has taken by then
  stages          what a pass of torch in float32 consists of: {stage: ms}

With `--quick` the network and its frames are as small as they can be.

What a CPU cannot do well (bfloat16 without its instructions) is measured with few passes.
"""

import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from act_ros import cli
from act_ros.config import load_task
from act_ros.errors import ActError
from act_ros.policy.checkpoint import read_checkpoint
from act_ros.policy.engine import make_engine
from act_ros.policy.interface import About
from act_ros.policy.policy import Policy
from act_ros.policy.torch_engine import TorchEngine
from act_ros.task import Task
from benchmarks.plain import PlainACT
from benchmarks.table import command_line, output_file, write
from benchmarks.untrained import write_checkpoint
from detr import ACTConfig


@dataclass(frozen=True)
class Size:
    """How much is measured.

    :ivar config: of the network.
    :ivar frame: height and width of each camera's frame [px], whole times 16.
    :ivar repeats: of each product and convolution that the peak is found by.
    :ivar engines: on a CPU.
    """

    config: ACTConfig
    frame: tuple[int, int]
    repeats: int
    engines: tuple[str, ...]


DEPLOYED = Size(
    ACTConfig(
        state_dim=17, action_dim=16, chunk_size=100, hidden_dim=512, feedforward_dim=3200,
        encoder_layers=4, heads=8, backbone='resnet18', num_backbones=1,
    ),
    frame=(480, 640),
    repeats=60,
    engines=('torch', 'openvino', 'onnx'),
)  # fmt: skip
QUICK = Size(
    replace(DEPLOYED.config, hidden_dim=32, feedforward_dim=32, encoder_layers=1),
    frame=(32, 48),
    repeats=1,
    engines=('torch',),  # OpenVINO takes some 10 s to compile whatever it is given
)
SLOW = 3.5  # a pass that takes longer is not often repeated [s]
CPU_BATCHES, CUDA_BATCHES = (1, 4), (1, 2, 4, 8, 16)


@dataclass
class Subject:
    """Something that is timed.

    :ivar prepare: what comes before each pass, and is not timed.
    :ivar run: one pass.
    :ivar chunk: what it gives for the first observation, normalised.
    """

    about: dict[str, Any]
    prepare: Callable[[], object]
    run: Callable[[], object]
    chunk: np.ndarray
    times: list[float] = field(default_factory=list)


def observations(task: Task, count: int) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Different ones, the same each time."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        height, width = task.image_size
        coarse = rng.integers(0, 256, (len(task.cameras), height // 16, width // 16, 3))
        coarse = coarse.astype(np.uint8)
        images = coarse.repeat(16, axis=1).repeat(16, axis=2)
        made.append((rng.normal(size=17).astype(np.float32),
                     dict(zip(task.cameras, images, strict=True))))  # fmt: skip
    return made


def subjects(
    folder: Path, task: Task, device: torch.device, engines: Sequence[str]
) -> list[Subject]:
    """The plain network first, then everything that there is here."""
    checkpoint = read_checkpoint(folder)
    network = checkpoint.network()
    plain = PlainACT(network if device.type == 'cpu' else copy.deepcopy(network).to(device))
    batches = CPU_BATCHES if device.type == 'cpu' else CUDA_BATCHES
    # By default torch convolves in TF32 on CUDA: then the plain one would not be float32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    seen = observations(task, max(batches))
    qpos, images = seen[0]
    state = torch.from_numpy(qpos)[None].to(device)
    frames = torch.from_numpy(np.stack(list(images.values()))).permute(0, 3, 1, 2)[None]

    def run_plain() -> np.ndarray:
        with torch.inference_mode():
            return plain(state, frames.to(device))[0].cpu().numpy()

    about = {'engine': 'plain', 'precision': 'float32', 'device': str(device), 'batch': 1,
             'known': 0}  # fmt: skip
    found = [Subject(about, lambda: None, run_plain, run_plain())]
    precisions = ['float32', 'bfloat16'] + ['float16'] * (device.type == 'cuda')
    for engine in engines if device.type == 'cpu' else ('torch',):
        for precision in precisions:
            try:
                made = make_engine(network, task, device=device, precision=precision,
                                   engine=engine, max_deviation=1e3)  # fmt: skip
            except ActError as error:
                print(f'{engine} {precision}: {error}', file=sys.stderr)
                continue
            own = About(checkpoint.path.name, '', made.name, precision, str(device))
            policy = Policy(checkpoint.config, checkpoint.statistics, task, made, own)
            about = {'engine': engine, 'precision': precision, 'device': str(device)}
            first = _subject(policy, seen, {**about, 'batch': 1, 'known': 0})
            found.append(first)
            first.prepare()
            if _median(first.run, 1) > SLOW:
                continue  # nobody would use it
            for batch in batches[1:]:
                found.append(_subject(policy, seen, {**about, 'batch': batch, 'known': 0}))
            found.append(_subject(policy, seen, {**about, 'batch': 1, 'known': 2}))
    return found


def _subject(policy: Policy, seen: Sequence, about: dict[str, Any]) -> Subject:
    """All frames new each time, or all but one camera's."""
    policy.warm_up()
    first = policy.predict(*seen[0])
    if not about['known']:
        batch = seen[: about['batch']]
        policy.predict_batch(batch)  # on CUDA the kernels for another size are loaded now
        return Subject(about, policy.forget_frames, lambda: policy.predict_batch(batch), first)
    qpos, images = seen[0]
    name = next(iter(images))
    other = {**images, name: seen[1][1][name]}
    return Subject(
        about, lambda: policy.predict(qpos, other), lambda: policy.predict(qpos, images), first
    )


def measure(found: Sequence[Subject], seconds: float) -> None:
    """Pass after pass in turns, for about as long."""
    end = time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < end or rounds < 3:
        for subject in found:
            if len(subject.times) >= 2 and max(subject.times) > SLOW:
                continue
            subject.prepare()
            started = time.perf_counter()
            subject.run()
            subject.times.append(time.perf_counter() - started)
        rounds += 1


def peak(precision: str, device: torch.device, repeats: int) -> float:
    """Operations a second of the deployed network's largest product and convolution [1/s]."""
    kind = getattr(torch, precision)
    # As `Vision` has it.
    layout = (torch.contiguous_format if (device.type, precision) == ('cuda', 'float32')
              else torch.channels_last)  # fmt: skip

    def filled(*shape: int) -> torch.Tensor:
        made = torch.randn(shape, device=device).to(kind)
        return made.to(memory_format=layout) if len(shape) == 4 else made

    a, b = filled(902, 512), filled(512, 3200)
    x, w = filled(1, 64, 120, 160), filled(64, 64, 3, 3)
    y, v = filled(1, 256, 30, 40), filled(256, 256, 3, 3)
    works: tuple[tuple[Callable[[], object], int], ...] = (
        (lambda: a @ b, 2 * 902 * 512 * 3200),
        (lambda: torch.nn.functional.conv2d(x, w, padding=1), 2 * 64 * 64 * 9 * 120 * 160),
        (lambda: torch.nn.functional.conv2d(y, v, padding=1), 2 * 256 * 256 * 9 * 30 * 40),
    )
    best = 0.0
    with torch.inference_mode(device.type == 'cpu'), torch.no_grad():
        for work, operations in works:
            run, times = (work, 1) if device.type == 'cpu' else (_on_cuda(work, repeats), repeats)
            for _ in range(repeats):
                started = time.perf_counter()
                run()
                took = time.perf_counter() - started
                best = max(best, times * operations / took)
    return best


def _on_cuda(work: Callable[[], object], repeats: int) -> Callable[[], object]:
    """Something small that often in a row, and waited for: one launch would take longer."""
    work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            work()

    def run() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return run


def count_operations(folder: Path, task: Task) -> tuple[float, float]:
    """Of one frame in the backbone, and of an observation in the transformer."""
    from torch.utils.flop_counter import FlopCounterMode

    engine = TorchEngine(read_checkpoint(folder).network(), task, torch.device('cpu'))
    frame = np.zeros((*task.image_size, 3), np.uint8)
    with FlopCounterMode(display=False) as looking:
        tokens = engine.encode([frame] * len(task.cameras), range(len(task.cameras)))
    with FlopCounterMode(display=False) as deciding:
        engine.decode(np.zeros((1, 17), np.float32), [tokens])
    return looking.get_total_flops() / len(task.cameras), deciding.get_total_flops()


def stages(folder: Path, task: Task, device: torch.device) -> dict[str, float]:
    """Medians of what a pass of torch in float32 consists of [ms]."""
    engine = make_engine(read_checkpoint(folder).network(), task, device=device)
    assert isinstance(engine, TorchEngine)
    images = list(observations(task, 1)[0][1].values())
    frames = engine.encode(images, range(len(images)))
    qpos = np.zeros((1, 17), np.float32)

    def look() -> None:
        engine.encode(images, range(len(images)))
        if device.type == 'cuda':
            torch.cuda.synchronize()

    works: dict[str, Callable[[], object]] = {
        'three backbones': look,
        'transformer': lambda: engine.decode(qpos, [frames]),
    }
    if device.type == 'cpu':  # nothing in a graph can be told apart
        actions, tokens = engine.actions, torch.cat(list(frames))[None]
        x = torch.cat((torch.zeros(1, 2, tokens.shape[-1]), tokens), dim=1)

        def encode() -> None:
            y = x
            for layer in actions.encoder:
                y = layer(y)

        works['its encoder'] = encode
        works['its decoder and head'] = lambda: actions.head(
            actions.decoder_norm(actions.decoder(x))
        )
    with torch.inference_mode(device.type == 'cpu'):
        return {name: round(1e3 * _median(work), 3) for name, work in works.items()}


def _median(work: Callable[[], object], count: int = 5) -> float:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


LOADING = """
import json, pathlib, sys, time
from act_ros.policy import load_policy, set_torch_threads

def most_mb():
    status = pathlib.Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) / 1024

set_torch_threads(0)
before = most_mb()
started = time.perf_counter()
load_policy(sys.argv[1], device=sys.argv[2], engine=sys.argv[3], precision=sys.argv[4],
            max_deviation=1e3)
took = time.perf_counter() - started
said = {'load_s': round(took, 2), 'load_mb': round(most_mb() - before, 1)}
if sys.argv[2].startswith('cuda'):
    import torch
    said['device_mb'] = round(torch.cuda.memory_reserved() / 2**20, 1)
print(json.dumps(said))
"""


def loading(folder: Path, about: dict[str, Any]) -> dict[str, float]:
    """Time and memory of loading, from a warm disk, in a process of its own."""
    said = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', LOADING, str(folder), about['device'],
         about['engine'], about['precision']],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(said.stdout.splitlines()[-1])


def rows(seconds: float, size: Size = DEPLOYED) -> list[dict[str, Any]]:
    """Measure everything that there is here.

    :param seconds: of measuring, about; each is measured three times at least.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    task = replace(load_task(), image_size=size.frame)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder, task, size.config)
        looking, deciding = count_operations(folder, task)
        found = subjects(folder, task, device, size.engines)
        measure(found, seconds)
        peaks = {p: peak(p, device, size.repeats) for p in {s.about['precision'] for s in found}}
        parts, loads = stages(folder, task, device), {}
        made = []
        plain = np.median(found[0].times)
        for subject in found:
            about, p50 = subject.about, float(np.median(subject.times))
            new = len(task.cameras) - about['known']
            operations = about['batch'] * (new * looking + deciding)
            key = about['engine'], about['precision']
            if about['engine'] != 'plain' and key not in loads:
                loads[key] = loading(folder, about)
            made.append({
                **about,
                'p50_ms': round(p50 * 1e3, 2),
                'p99_ms': round(float(np.percentile(subject.times, 99)) * 1e3, 2),
                'passes': len(subject.times),
                'per_s': round(about['batch'] / p50, 2),
                'speedup': round(about['batch'] * plain / p50, 3),
                'max_deviation': float(np.abs(subject.chunk - found[0].chunk).max()),
                'peak_fraction': round(operations / p50 / peaks[about['precision']], 3),
                **loads.get(key, {}),
            })  # fmt: skip
        for row in made:
            which = row['engine'], row['precision'], row['batch'], row['known']
            if which == ('torch', 'float32', 1, 0):
                row['stages'] = parts
        return made


def plot(made: Sequence[dict[str, Any]], path: Path) -> None:
    """Observations a second, one bar a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.45 * len(made) + 1), layout='constrained')
    axis = figure.subplots()
    names = [
        f'{r["engine"]} {r["precision"]}, batch {r["batch"]}'
        + (f', {r["known"]} known' if r['known'] else '')
        for r in made
    ]
    axis.barh(names[::-1], [r['per_s'] for r in made][::-1], color='#1668a8')
    axis.set_xlabel(f'observations a second, {made[0]["device"]}')
    figure.savefig(path)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = command_line('inference', __doc__)
    parser.add_argument('--plot', type=output_file, metavar='FILE', help='where to draw them')
    parser.add_argument('--seconds', type=float, default=240.0, help='of measuring')
    arguments = parser.parse_args(argv)

    def work() -> None:
        from rich.console import Console
        from rich.table import Table

        made = rows(0.0, QUICK) if arguments.quick else rows(arguments.seconds)
        keys = [key for key in made[1] if key not in ('stages', 'device')]
        table = Table(*keys, title=f'inference on {made[0]["device"]}', title_justify='left')
        for row in made:
            table.add_row(*(f'{v:.3g}' if isinstance(v, float) else str(v)
                            for v in (row.get(key, '') for key in keys)))  # fmt: skip
        Console(width=180).print(table)
        print('stages of torch float32 [ms]:', next(r['stages'] for r in made if 'stages' in r))
        write(made, arguments.json)
        if arguments.plot is not None:
            plot(made, arguments.plot)

    return cli.run('inference', work)


if __name__ == '__main__':
    sys.exit(main())
