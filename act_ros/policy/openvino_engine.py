"""The network in OpenVINO, on the CPU."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from act_ros.errors import ParameterError
from act_ros.policy.torch_engine import Eyes, make_actions
from act_ros.task import Task
from detr import DETRVAE

HINTS = {'float32': 'f32', 'bfloat16': 'bf16'}


class OpenVinoEngine:
    """Runs `Vision` and `Actions` as compiled by OpenVINO.

    Threads are as many as torch has.

    :param network: the loaded network; it stays as it is.
    :param task: its cameras and image size.
    :param precision: 'float32' or 'bfloat16'.
    :param bgr: the network was trained on frames of that channel order.
    :raises ParameterError: OpenVINO is not installed, or the CPU lacks the precision.
    """

    parameter = 'openvino'
    deviation: float | None = None
    frames_at_once = 1

    def __init__(self, network: DETRVAE, task: Task, precision: str, bgr: bool) -> None:
        # It would look for a place to send statistics to.
        os.environ.setdefault('OPENVINO_TELEMETRY_DISABLED', '1')
        try:
            import openvino
        except ImportError:
            raise ParameterError(
                "engine is openvino, which is not installed: pip install 'act_ros[openvino]'"
            ) from None
        self.name = f'openvino {precision}'
        self._core = openvino.Core()
        known = self._core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        if precision == 'bfloat16' and 'BF16' not in known:
            # It would compute in float32 and not say so.
            raise ParameterError(
                'precision is bfloat16, for which this CPU has no instructions; use float32'
            )
        self._config = {
            'INFERENCE_PRECISION_HINT': HINTS[precision],
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
        }
        eyes = Eyes(network, task, bgr)
        self._eye_of = eyes.of
        self._vision = [
            self._compile(openvino, eyes[i], torch.zeros((1, *size, 3), dtype=torch.uint8))
            for i, size in enumerate(eyes.sizes)
        ]
        actions = make_actions(network, task)
        state = torch.zeros((1, network.config.state_dim))
        tokens = torch.zeros((1, actions.tokens, network.config.hidden_dim))
        # The number of observations is open; everything else is fixed.
        self._actions = self._compile(openvino, actions, state, tokens, open_batch=True)

    def encode(self, frames: Sequence[np.ndarray], cameras: Sequence[int]) -> list[np.ndarray]:
        """Tokens of each frame, (h * w, hidden)."""
        return [
            self._run(self._vision[self._eye_of[camera]], frame[np.newaxis])[0]
            for frame, camera in zip(frames, cameras, strict=True)
        ]

    def decode(self, qpos: np.ndarray, tokens: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Chunks of normalised actions."""
        joined = np.stack([np.concatenate(list(each)) for each in tokens])
        return self._run(self._actions, qpos, joined)

    def _run(self, request: Any, *inputs: np.ndarray) -> np.ndarray:
        # Copied: the next run writes to the same place.
        return np.array(request.infer(dict(enumerate(inputs)), share_inputs=True)[0])

    def _compile(
        self, openvino: Any, module: torch.nn.Module, *inputs: torch.Tensor,
        open_batch: bool = False,
    ) -> Any:  # fmt: skip
        shapes = [
            openvino.PartialShape([-1 if open_batch else x.shape[0], *x.shape[1:]])
            for x in inputs
        ]
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of the tracing that OpenVINO asks torch for
            model = openvino.convert_model(
                module.eval(), example_input=tuple(inputs), input=shapes
            )
        return self._core.compile_model(model, 'CPU', self._config).create_infer_request()
