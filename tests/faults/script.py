"""The training that faults befall: ``script.py FOLDER STEPS FAULT AT``; FAULT may be ``none``, AT is a step."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import struct
import sys
import threading
from pathlib import Path

import torch
from torch import nn

folder, steps, fault, at = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
progress = os.open(folder / "progress", os.O_RDWR | os.O_CREAT)


def befall() -> None:
    """What a script may do to itself, or have done to it, in the middle of its training."""
    match fault:
        case "exit":
            sys.exit(4)
        case "leave at once":
            os._exit(5)
        case "raise":
            raise ValueError("something of the script's own")
        case "ctrl-c":
            os.kill(os.getpid(), signal.SIGINT)
        case "recursion":
            sys.setrecursionlimit(300)
        case "no descriptors":
            resource.setrlimit(resource.RLIMIT_NOFILE, (progress + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        case "files stay small":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        case "folder removed":
            os.makedirs(folder / "here")
            os.chdir(folder / "here")
            shutil.rmtree(folder / "here")
        case "environment cleared":
            os.environ.clear()
        case "errors closed":
            sys.stderr.close()
        case "output closed":
            os.close(1)
        case "a fork":
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
        case "a process pool":
            with multiprocessing.get_context("fork").Pool(1) as pool:
                pool.map(abs, [-1, -2])
        case "a thread that fails":
            threading.excepthook = lambda _: None
            thread = threading.Thread(target=lambda: [][0])
            thread.start()
            thread.join()
        case "NaN":
            with torch.no_grad():
                trunk.weight.fill_(float("nan"))
        case "modules forgotten":
            for name in [name for name in sys.modules if name.partition(".")[0] in ("dominance", "zarr", "numcodecs")]:
                del sys.modules[name]
        case "signals of its own":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        case "umask":
            os.umask(0o777)


torch.manual_seed(0)
trunk, near_head, far_head = nn.Linear(6, 12), nn.Linear(12, 1), nn.Linear(12, 1)
parameters = [*trunk.parameters(), *near_head.parameters(), *far_head.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-3)


def train(numbers: range) -> None:
    """Two tasks on one layer; where it is goes into ``progress``."""
    for step in numbers:
        os.pwrite(progress, struct.pack("qq", os.getpid(), step), 0)
        if step == at:
            befall()
        x = torch.randn(8, 6)
        z = trunk(x).tanh()
        near = (near_head(z)[:, 0] - x[:, 0]).square().mean()
        far = (far_head(z)[:, 0] - 5 * x[:, 1]).square().mean()
        optimizer.zero_grad()
        (near + far).backward()
        optimizer.step()


train(range(steps))
limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
weights = b"".join(parameter.detach().numpy().tobytes() for parameter in parameters)
os.pwrite(progress, weights, 16)
