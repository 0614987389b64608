"""Other processes, as the kernel shows them."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    return [
        int(child)
        for path in Path(f'/proc/{pid}/task').glob('*/children')
        for child in path.read_text().split()
    ]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False
