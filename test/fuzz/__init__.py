"""Coverage-guided fuzzing of all that reads what a stranger may have sent.

    pip install atheris
    python -m test.fuzz pickle --seconds 300

atheris (https://github.com/google/atheris) mutates inputs and keeps those that lead to code that
no other does. `targets` says what must hold for any bytes whatever; corpus.json has the inputs
that past runs kept, by target, in base64, and test/bridge/test_corpus.py runs all of
them again. `--keep` adds what a run finds.
"""

import json
from base64 import b64decode, b64encode
from pathlib import Path

FILE = Path(__file__).with_name('corpus.json')


def corpus() -> dict[str, list[bytes]]:
    """The inputs of each target."""
    stored = json.loads(FILE.read_text())
    return {name: [*map(b64decode, inputs)] for name, inputs in stored.items()}


def store(corpus: dict[str, list[bytes]]) -> None:
    """Write the file anew, an input a line, the short ones first."""
    ordered = {
        name: [
            b64encode(data).decode()
            for data in sorted({*inputs}, key=lambda data: (len(data), data))
        ]
        for name, inputs in sorted(corpus.items())
    }
    FILE.write_text(json.dumps(ordered, indent=0) + '\n')
