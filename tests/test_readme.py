"""What README.md shows is run; `.ci/run` runs the examples."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_ten_lines(tmp_path, monkeypatch, capsys):
    (code,) = BLOCKS
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    correct = int(re.search(r"(\d+) of 1000 test images are classified correctly", out).group(1))
    assert correct >= 900


def test_the_one_word_change(tmp_path, monkeypatch):
    """On a GPU the same lines run; without one they end at construction with the remedy."""
    cupy = pytest.importorskip("cupy")
    code = BLOCKS[0].replace('backend="numpy"', 'backend="cupy"')
    assert code != BLOCKS[0]
    monkeypatch.chdir(tmp_path)
    if cupy.cuda.is_available():
        exec(compile(code, "README.md", "exec"), {})
    else:
        with pytest.raises(RuntimeError, match="no usable GPU"):
            exec(compile(code, "README.md", "exec"), {})


def test_the_example_is_short():
    assert len((ROOT / "examples" / "mnist.py").read_text().splitlines()) <= 50
