"""The documented client: pyzmq, NumPy and the stock pickle, on whatever this Python has.

Arguments: the endpoint, and an .npz with base_pos, base_vel, joint_pos and gripper of each step
and one array of frames a camera. Prints one JSON object of what it sent and what it got.
"""

import json
import pickle
import sys

import numpy as np
import zmq

endpoint, inputs = sys.argv[1:]
steps = np.load(inputs)
states = ('base_pos', 'base_vel', 'joint_pos', 'gripper')
cameras = [name for name in steps.files if name not in states]

context = zmq.Context()
socket = context.socket(zmq.REQ)
socket.connect(endpoint)

socket.send(pickle.dumps('RESET'))
resets = [pickle.loads(socket.recv())]

actions, modules = [], set()
for i in range(len(steps['base_pos'])):
    qpos = np.concatenate([steps[name][i] for name in states])
    images = {name: steps[name][i] for name in cameras}
    request = pickle.dumps({'qpos': qpos, 'images': images})
    modules |= {name for name in ('numpy.core', 'numpy._core') if name.encode() in request}
    socket.send(request)
    response = pickle.loads(socket.recv())
    if response['status'] != 'OK':
        sys.exit(response['message'])
    assert isinstance(response['action'], np.ndarray)
    actions.append(response['action'].tolist())

socket.send(pickle.dumps('RESET'))
resets.append(pickle.loads(socket.recv()))

socket.close()
context.term()
print(json.dumps({
    'python': list(sys.version_info[:2]),
    'numpy': np.__version__,
    'modules': sorted(modules),
    'resets': resets,
    'qpos': [str(qpos.dtype), qpos.shape],
    'actions': actions,
}))  # fmt: skip
