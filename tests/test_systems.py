"""Other systems: everything works without what only POSIX has, and no file depends on the system's encoding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# As on Windows, for xpnet: other libraries have been imported, as they chose what to use when they were built
LIKE_WINDOWS = """
import os, signal, sys
import numpy, array_api_compat, threadpoolctl, tqdm, multiprocessing, subprocess, tempfile, joblib, sklearn.base
for name in (
    "O_NOFOLLOW O_NONBLOCK chown fchmod fchown fork geteuid getuid killpg mkfifo pread register_at_fork"
    " sched_getaffinity setsid sysconf umask uname"
).split():
    vars(os).pop(name, None)
for name in "SIGALRM SIGHUP SIGKILL SIGUSR1 alarm pthread_sigmask setitimer".split():
    vars(signal).pop(name, None)
sys.modules.update(dict.fromkeys(["fcntl", "grp", "pwd", "resource", "termios"]))
def refuse(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc/meminfo", "/proc/self/cgroup", "/sys/fs")):
        raise FileNotFoundError(arguments[0])
sys.addaudithook(refuse)
"""
USE = """
import sys
from pathlib import Path
from xpnet import Adam, Callback, CSVLog, Ensemble, ModelCheckpoint, Network
from xpnet.cli import main
from xpnet.datasets import mnist_sample
from xpnet.estimators import MLPClassifier

(x, y), folder = mnist_sample()[0], Path(sys.argv[1])
x, y = x[:1000], y[:1000]

class Stop(Callback):
    stops = True
    def on_epoch_end(self, logs):
        if self.stops:
            raise KeyboardInterrupt

def train(resume):
    net = Network([784, 10, 10], dropout=0.1, seed=0)
    callbacks = [CSVLog(folder / "log"), ModelCheckpoint(folder / "best", every=1), Stop()]
    options = dict(optimizer=Adam(), callbacks=callbacks, progress=False)
    net.train((x, y), 2, checkpoint=folder / "run", resume=resume, **options)
    return net

try:
    train(resume=False)
except KeyboardInterrupt:
    Stop.stops = False
    net = train(resume=True)
for model in (net, Ensemble([784, 10, 10], 3, seed=0)):
    model.save(folder / "model")
    model.save(folder / "model")
    print(type(model).load(folder / "model").fingerprint())
print(MLPClassifier(max_iter=2, n_iter_no_change=2, early_stopping=True, random_state=0).fit(x, y).score(x, y))
for words in ("train --hidden 5 --epochs 1 --save digits", "evaluate digits", "info digits", "show digits -o page"):
    assert main([word if word not in ("digits", "page") else str(folder / word) for word in words.split()]) == 0
"""


def run(code: str, folder: Path) -> list[str]:
    folder.mkdir()
    environment = os.environ | {"PYTHONWARNDEFAULTENCODING": "1"}
    command = [sys.executable, "-W", "error::EncodingWarning", "-c", code, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["best", "digits", "log", "model", "page", "run"]
    return done.stdout.splitlines()[:3]


@pytest.mark.slow
def test_a_system_without_posix_trains_the_same_networks(tmp_path: Path) -> None:
    results = run(USE, tmp_path / "here")
    assert run(LIKE_WINDOWS + USE, tmp_path / "elsewhere") == results
