"""Pages looked at in a real browser, where one is installed."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
needed = pytest.mark.skipif(CHROMIUM is None, reason='no chromium is installed')


def opened(page: Path, *flags: str) -> 'subprocess.CompletedProcess[str]':
    """Open a file in the browser without a window, and end it."""
    return _opened(page.as_uri(), page.with_name(f'profile of {page.stem}'), *flags)


def document(url: str, profile: Path) -> str:
    """What a page has become after some seconds of its own time; it must not complain."""
    said = _opened(url, profile, '--virtual-time-budget=4000', '--timeout=10000', '--dump-dom')
    assert 'CONSOLE' not in said.stderr, said.stderr
    return said.stdout


def _opened(url: str, profile: Path, *flags: str) -> 'subprocess.CompletedProcess[str]':
    return subprocess.run(
        [CHROMIUM or '', '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', f'--user-data-dir={profile}', '--enable-logging=stderr',
         '--hide-scrollbars', *flags, url],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def picture(page: Path, width: int, height: int, *, dark: bool = False) -> np.ndarray:
    """What is seen of a file, BGR; it must not complain."""
    file = page.with_suffix('.png')
    scheme = ['--blink-settings=preferredColorScheme=0'] if dark else []
    said = opened(page, f'--window-size={width},{height}', f'--screenshot={file}', *scheme)
    assert 'CONSOLE' not in said.stderr
    pixels = cv2.imread(str(file))
    assert pixels is not None and pixels.shape == (height, width, 3)
    return pixels
