"""The network in onnxruntime: on the CPU, on CUDA, or compiled by TensorRT."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from act_ros.errors import ActError, ParameterError, PolicyError, one_line
from act_ros.policy.onnx_export import MISSING, to_onnx
from act_ros.policy.torch_engine import Eyes, make_actions
from act_ros.task import Task
from detr import DETRVAE

# By engine and type of the device.
PROVIDERS = {
    ('onnx', 'cpu'): 'CPUExecutionProvider',
    ('onnx', 'cuda'): 'CUDAExecutionProvider',
    ('tensorrt', 'cuda'): 'TensorrtExecutionProvider',
}
# TensorRT compiles for minutes; what comes of it is kept here, for this very device.
TENSORRT_CACHE = Path('~/.cache/act_ros/tensorrt')


class OnnxEngine:
    """Runs `Vision` and `Actions` as ONNX.

    Threads are as many as torch has; they sleep between passes.

    :param network: the loaded network; it stays as it is.
    :param task: its cameras and their image sizes.
    :param engine: 'onnx' or 'tensorrt'.
    :param precision: 'float32', or 'float16' on CUDA.
    :param bgr: the network was trained on frames of that channel order.
    :raises ActError: onnxruntime is not installed, or not for this device.
    """

    deviation: float | None = None
    frames_at_once = 1

    def __init__(
        self,
        network: DETRVAE,
        task: Task,
        device: torch.device,
        engine: str,
        precision: str,
        bgr: bool,
    ) -> None:
        provider = PROVIDERS.get((engine, device.type))
        if provider is None:
            raise ParameterError(f'engine is {engine}, which needs a CUDA device, not {device}')
        half = precision == 'float16'
        if precision not in ('float32', *(['float16'] if device.type == 'cuda' else [])):
            raise ParameterError(
                f'engine is {engine}, which has no {precision} on {device.type}; use float32'
            )
        self.parameter, self.name = engine, f'{engine} {precision}'
        self._sessions = _Sessions(provider, device, half)
        # TensorRT lowers the precision itself, where it gains by that.
        dtype = torch.float16 if half and engine == 'onnx' else torch.float32
        eyes = Eyes(network, task, bgr)
        for vision in eyes.visions:
            vision.place(torch.device('cpu'), dtype)
        self._eye_of = eyes.of
        with _told(self.name):
            self._vision = [
                self._sessions.make(
                    eyes[i], [torch.zeros((1, *size, 3), dtype=torch.uint8)], ['frame'], 'tokens'
                )
                for i, size in enumerate(eyes.sizes)
            ]
            actions = make_actions(network, task)
            if dtype == torch.float16:
                actions = copy.deepcopy(actions).to(dtype)  # the network's weights are its own
            state = torch.zeros((1, network.config.state_dim))
            tokens = torch.zeros((1, actions.tokens, network.config.hidden_dim), dtype=dtype)
            # The number of observations is open; everything else is fixed.
            self._actions = self._sessions.make(
                actions, [state, tokens], ['qpos', 'tokens'], 'chunk', open_batch=True
            )

    def encode(self, frames: Sequence[np.ndarray], cameras: Sequence[int]) -> list[np.ndarray]:
        """Tokens of each frame, (h * w, hidden)."""
        with _told(self.name):
            return [
                self._vision[self._eye_of[camera]].run(None, {'frame': frame[np.newaxis]})[0][0]
                for frame, camera in zip(frames, cameras, strict=True)
            ]

    def decode(self, qpos: np.ndarray, tokens: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Chunks of normalised actions."""
        joined = np.stack([np.concatenate(list(each)) for each in tokens])
        with _told(self.name):
            return self._actions.run(None, {'qpos': qpos, 'tokens': joined})[0]


class _Sessions:
    """Makes what onnxruntime runs.

    :param provider: by onnxruntime's name.
    :param half: TensorRT may compute in float16.
    :raises ParameterError: it is not installed, or has no such provider.
    """

    def __init__(self, provider: str, device: torch.device, half: bool) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ParameterError(MISSING) from None
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise ParameterError(
                f'this onnxruntime has no {provider}, only {", ".join(available)}; for CUDA and '
                f'TensorRT install onnxruntime-gpu in its place'
            )
        self._ort, self._provider = onnxruntime, provider
        self._provider_options: dict[str, Any] = {}
        if provider != 'CPUExecutionProvider':
            self._provider_options['device_id'] = device.index or 0
        if provider == 'TensorrtExecutionProvider':
            cache = TENSORRT_CACHE.expanduser()
            cache.mkdir(parents=True, exist_ok=True)
            self._provider_options |= {
                'trt_fp16_enable': half,
                'trt_engine_cache_enable': True,
                'trt_engine_cache_path': str(cache),
            }
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = torch.get_num_threads()
        # The processor's cores are the control loop's until the next pass.
        self._options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._options.log_severity_level = 3  # errors

    def make(
        self,
        module: torch.nn.Module,
        inputs: list[torch.Tensor],
        names: list[str],
        output: str,
        open_batch: bool = False,
    ) -> Any:
        """A module, ready to run.

        :raises PolicyError: the provider does not take it; onnxruntime would go on with another.
        """
        model = to_onnx(module, inputs, names, output, open_batch=open_batch)
        session = self._ort.InferenceSession(
            model, self._options, providers=[(self._provider, self._provider_options)]
        )
        if (found := session.get_providers()[0]) != self._provider:
            raise PolicyError(f'onnxruntime runs this on {found} instead of {self._provider}')
        return session


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What onnxruntime stumbles over, in one line; its errors have no type in common."""
    try:
        yield
    except ActError:
        raise
    except Exception as error:
        raise PolicyError(f'{name}: {one_line(error)[:300]}') from None
