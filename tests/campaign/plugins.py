"""Plugins of strangers: files that raise, exit or never end, at import or when they are called.

A plugin is trusted code. What is tested is that the error of one is shown with its file, that it never looks
like success, and that a file which nobody uses costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from tests.campaign.case import ACCEPTED, EITHER, REFUSED, Case

ACTIVATION = '''\
from dataclasses import dataclass
import numpy as np
from backproof.contracts import Activation, hyper

@dataclass(frozen=True)
class My(Activation):
    """An identity."""

    def forward(self, a, out):
        np.copyto(out, a)

    def backward(self, a, h, grad, work):
        pass
'''
DATASET = '''\
from dataclasses import dataclass
import numpy as np
from backproof.contracts import Dataset, DatasetLoader

@dataclass(frozen=True)
class My(DatasetLoader):
    """A dataset."""

    def load(self):
        return %s
'''


def _field(line: str) -> str:
    return ACTIVATION.replace('    """An identity."""\n', f'    """An identity."""\n\n    {line}\n')


def _forward(line: str) -> str:
    return ACTIVATION.replace("np.copyto(out, a)", line)


def _backward(line: str) -> str:
    return ACTIVATION.replace("        pass\n", f"        {line}\n")


def _init(line: str) -> str:
    return ACTIVATION.replace(
        "    def forward", f"    def __post_init__(self):\n        {line}\n\n    def forward"
    )


#: Files that cannot be imported, or hold no plugin: refused where they are used.
BROKEN: dict[str, str | bytes] = {
    "a syntax error": "def (",
    "mixed tabs": "if 1:\n\tx = 1\n        y = 2\n",
    "nothing": "",
    "no class": "x = 1\n",
    "two classes": ACTIVATION + ACTIVATION.partition("hyper\n\n")[2].replace("class My(", "class Other("),
    "no base class": ACTIVATION.replace("(Activation)", "(object)"),
    "another kind's base class": ACTIVATION.replace("Activation", "Loss"),
    "no dataclass": ACTIVATION.replace("@dataclass(frozen=True)\n", ""),
    "a missing method": ACTIVATION.replace("def backward", "def backwards"),
    "a mutable default": _field("m: list = []"),
    "an import that is missing": "import no_such_package\n" + ACTIVATION,
    "a relative import": "from . import other\n" + ACTIVATION,
    "a name that is missing": "undefined\n" + ACTIVATION,
    "an exception": "raise RuntimeError('boom')\n",
    "an exception that is no Exception": "class E(BaseException): pass\nraise E('boom')\n",
    "a generator's exit": "raise GeneratorExit\n",
    "a memory error": "raise MemoryError\n",
    "a recursion without end": "def f(): f()\nf()\n",
    "Ctrl-C": "raise KeyboardInterrupt\n",
    "sys.exit(0)": "import sys; sys.exit(0)\n",
    "sys.exit with text": "import sys; sys.exit('bye')\n",
    "NULs": ACTIVATION.encode() + b"\0",
    "Latin-1": ACTIVATION.replace("identity", "idéntity").encode("latin1"),
    "UTF-16": ACTIVATION.encode("utf-16"),
    "a field of an unknown type": _field('m: "Nope" = 1'),
    "a field of a mapping": _field("m: dict[str, int] = hyper(None, 'x')"),
    "a complex field": _field("m: complex = 1j"),
    "an array as field": _field("m: np.ndarray = hyper(None, 'x')"),
    "a union of a number and a list": _field("m: int | list[int] = hyper(1, 'x')"),
    "a default of another type": _field("m: int = hyper('no number', 'x')"),
    "a default out of bounds": _field("m: float = hyper(-1.0, 'x', gt=0)"),
    "reading stdin": "input()\n" + ACTIVATION,
}
#: Instances and calls that fail.
FAILING = {
    "an exception in __post_init__": _init("raise RuntimeError('boom')"),
    "sys.exit in __post_init__": _init("raise SystemExit"),
    "an exception in forward": _forward("raise RuntimeError('boom')"),
    "a missing name in forward": _forward("np.copyto(out, aa)"),
    "sys.exit(0) in forward": _forward("import sys; sys.exit(0)"),
    "sys.exit(3) in forward": _forward("import sys; sys.exit(3)"),
    "a wrong shape in forward": _forward("np.copyto(out, a[:, :1, :1].repeat(7, axis=1))"),
    "an exception in backward": _backward("raise ZeroDivisionError('boom')"),
    "Ctrl-C in backward": _backward("raise KeyboardInterrupt"),
}
#: What is odd but harmless, or fails in a way of its own.
ODD = {
    "right": (ACTIVATION, ACCEPTED),
    "not frozen": (ACTIVATION.replace("(frozen=True)", ""), EITHER),
    "NaN in forward": (_forward("out[...] = np.nan"), EITHER),
    "nothing written in forward": (_forward("return a"), EITHER),
    "output at import": ("print('NOISE')\n" + ACTIVATION, EITHER),
    "a warning at import": ("import warnings; warnings.warn('noise')\n" + ACTIVATION, EITHER),
    "another working directory": ("import os; os.chdir('/')\n" + ACTIVATION, EITHER),
    "a thread": (
        "import threading, time; threading.Thread(target=time.sleep, args=(2,)).start()\n" + ACTIVATION,
        EITHER,
    ),
    "a closed stdout": ("import sys; sys.stdout.close()\n" + ACTIVATION, EITHER),
    "markup in the docstring": (ACTIVATION.replace("An identity.", "x[/red]y \\x1b[31m"), EITHER),
}
LOADS = {
    "None": "None",
    "a number": "5",
    "an array": "np.zeros((3, 3))",
    "a division by zero": "1 / 0",
    "sys.exit(0)": "__import__('sys').exit(0)",
    "an attribute": "[].x",
    "a missing file": "open('/nope')",
    "a StopIteration": "next(iter([]))",
    "a UnicodeDecodeError": "b'\\xff'.decode()",
    "a BaseException": "(_ for _ in ()).throw(BaseException('boom'))",
    "no samples": "Dataset(np.zeros((0, 2)), np.zeros(0, np.int64), 'classification', ('a', 'b'), ('x', 'y'))",
    "NaN": "Dataset(np.full((9, 1), np.nan), np.zeros(9, np.int64), 'classification', ('a',), ('x', 'y'))",
    "text as numbers": "Dataset(np.array([['a']] * 9), np.zeros(9, np.int64), 'classification', ('a',), ('x',))",
}
NAMES = ("relu", "my-plug", "мой", "my plug", "1x", "class", "my.tar", "none", "null", "true", "on", "name")
NAMES += ("_target_", "ﬁ", "x" * 200, 'a"b', "a\nb", "MY", "<img src=x>", "[red]", "\x1b[31m", "$(touch RAN)")

PLUGINS = {"BACKPROOF_PLUGINS": "@D/m"}
CHECK = ("check", "dataset=iris", "model.hidden=[5]")
#: Commands that do not use the plugin.
OTHERS = {
    "train": ("train", "dataset=iris", "train.epochs=1", "tracking=off", "tracking.plots=false"),
    "help": ("train", "--help"),
    "check": CHECK,
    "sweep": ("train", "-m", "dataset=iris", "train.epochs=1", "tracking=off", "activation=relu,tanh"),
}


def cases() -> Iterator[Case]:
    """Yield a case for each file where it is used, and where it is not."""
    here = {"m/activation/my.py": ""}
    for name, source in BROKEN.items():
        files = {**here, "m/activation/my.py": source}
        args = (*CHECK, "activation=my")
        yield Case("plugins", f"import: {name}", args, REFUSED, files, PLUGINS, names_file="my.py")
        yield Case("plugins", f"listed: {name}", ("plugins", "activation"), ACCEPTED, files, PLUGINS)
        for other, words in OTHERS.items():
            yield Case("unused plugins", f"{other}: {name}", words, ACCEPTED, files, PLUGINS)
    for name, source in FAILING.items():
        files = {**here, "m/activation/my.py": source}
        for command, words in (("check", CHECK), ("train", OTHERS["train"])):
            args = (*words, "activation=my")
            case = Case("plugins", f"{command}: {name}", args, EITHER, files, PLUGINS, inspect=_failure)
            yield replace(case, may_begin=command == "train")
    for name, (source, expected) in ODD.items():
        files = {**here, "m/activation/my.py": source}
        yield Case("plugins", f"odd: {name}", (*CHECK, "activation=my"), expected, files, PLUGINS)
    endless = {"m/activation/my.py": "while True: pass\n"}
    used = (*CHECK, "activation=my")
    yield Case("plugins", "import: without end", used, EITHER, endless, PLUGINS, endless="my.py")
    yield Case("unused plugins", "train: without end", OTHERS["train"], ACCEPTED, endless, PLUGINS)
    for name, expression in LOADS.items():
        files = {"m/dataset/my.py": DATASET % expression}
        args = ("train", "dataset=my", "train.epochs=1", "tracking=off")
        yield Case("plugins", f"load: {name}", args, EITHER, files, PLUGINS, inspect=_failure)
    for name in NAMES:
        files = {f"m/activation/{name}.py": ACTIVATION}
        yield Case("plugin names", f"listed: {name!a}", ("plugins", "activation"), ACCEPTED, files, PLUGINS)
        chosen = f"activation='{name}'"
        yield Case(
            "plugin names", f"used: {name!a}", (*CHECK, chosen), EITHER, files, PLUGINS, inspect=_nothing_ran
        )
    two = {"m/activation/my.py": ACTIVATION, "n/activation/my.py": ACTIVATION}
    both = {"BACKPROOF_PLUGINS": f"@D/m{os.pathsep}@D/n"}
    yield Case("plugins", "two of one name, used", used, REFUSED, two, both, names_file="my.py")
    yield Case("plugins", "two of one name, unused", OTHERS["train"], ACCEPTED, two, both)
    for place in ("/nope", ":", "::", "@D/file", "~nobody/x", "\n", "/proc", "/", "x[/red]y"):
        files, env = {"file": "x"}, {"BACKPROOF_PLUGINS": place}
        yield Case("plugins", f"folder {place!r}", ("plugins", "activation"), ACCEPTED, files, env)


def _failure(folder, outcome):
    """A call that fails is never success, and its file is named."""
    wrong = ["looks like success"] if outcome.code == 0 else []
    return wrong + ([] if "my.py" in outcome.err else ["the plugin's file is not named"])


def _nothing_ran(folder, outcome):
    return ["a name was run by a shell"] if (folder / "RAN").exists() else []
