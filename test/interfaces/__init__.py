"""Packages of interfaces, built as colcon builds them but from ROS's wheels."""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
TIMEOUT = 300


def can_build() -> bool:
    """Whether there is what it takes: compilers, and the generators among the wheels."""
    share = Path(sys.prefix) / 'share'
    packages = ('ament_cmake', 'rosidl_default_generators')
    return all(map(shutil.which, ('cmake', 'g++'))) and all(
        (share / name).is_dir() for name in packages
    )


@cache
def prefix(folder: Path) -> Path:
    """ROS's wheels as an installation that cmake can use, in a folder of its own.

    Some of their files name the Python of the machine that they were built on.
    """
    made, venv = folder / 'ros', Path(sys.prefix)
    made.mkdir()
    for name in ('bin', 'include', 'lib'):
        (made / name).symlink_to(venv / name)
    shutil.copytree(venv / 'share', made / 'share', symlinks=True)
    major, minor = sys.version_info[:2]
    there, name = f'/opt/python/cp{major}{minor}-cp{major}{minor}', f'python{major}.{minor}'
    here = {
        f'{there}/include/{name}': sysconfig.get_paths()['include'],
        f'{there}/lib/{name}/site-packages/numpy/_core/include': np.get_include(),
    }
    for path in made.glob('share/*/cmake/*Export.cmake'):
        text = path.read_text()
        for old, new in here.items():
            text = text.replace(old, new)
        path.write_text(text)
    return made


def provide(package: Path, folder: Path) -> dict[str, str]:
    """Build a package of interfaces, and let this process have it.

    :param folder: of the caller's own, for all that it builds.
    :returns: the environment of other processes that need it.
    """
    installed = build(package, folder)
    (found,) = installed.glob('**/site-packages') or installed.glob('**/dist-packages')
    sys.path.append(str(found))
    # They are looked for by their names; those that are loaded are found.
    for library in sorted((installed / 'lib').glob('*.so'), key=_needs_little):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    variables = {'PYTHONPATH': found, 'LD_LIBRARY_PATH': installed / 'lib'}
    return {
        name: os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])])
        for name, path in variables.items()
    }


def _needs_little(library: Path) -> bool:
    """A key that puts first what the others are linked to."""
    return 'rosidl_generator_c' not in library.name


def build(package: Path, folder: Path) -> Path:
    """Build and install a package of interfaces; where that is."""
    ros, installed = prefix(folder), folder / 'installed' / package.name
    environment = {
        **os.environ, 'AMENT_PREFIX_PATH': str(ros),
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
    }  # fmt: skip
    environment.pop('PYTHONPATH', None)
    made = str(folder / 'build' / package.name)
    for command in (
        [
            'cmake', '-S', str(package), '-B', made, f'-DCMAKE_PREFIX_PATH={ros}',
            f'-DPython3_EXECUTABLE={sys.executable}', f'-DCMAKE_INSTALL_PREFIX={installed}',
            f'-DCMAKE_INSTALL_RPATH={installed}/lib', '-DBUILD_TESTING=OFF',
        ],
        ['cmake', '--build', made, '-j2'],
        ['cmake', '--install', made],
    ):  # fmt: skip
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        assert done.returncode == 0, f'{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
    return installed
