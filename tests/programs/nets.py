"""Models, in the ways that people build them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field

Lines = list[str]


def code(text: str) -> Lines:
    """The lines of a block of source text."""
    return textwrap.dedent(text).strip("\n").split("\n")


@dataclass
class Net:
    """A model's source text: how it is made, and what gives the tasks' predictions."""

    make: Lines
    """Statements that make it; classes among them."""
    forward: Lines
    """Statements that run it on ``x``."""
    predictions: dict[str, str]
    """For each task the expression for its predictions, of shape (batch,)."""
    things: Lines = field(default_factory=lambda: ["net"])
    """Names of modules and tensors that hold the parameters."""
    batch: str = "torch.randn(16, 6)"
    feature: str = "x"
    """Name of the float tensor that targets are made of."""
    heads: dict[str, str] = field(default_factory=dict)
    """For each task the expression for the parameters of its head alone."""
    trunk: str = ""
    """Expression for the parameters that all tasks share."""
    sparse: bool = False
    reentrant: bool = False
    compiled: bool = False
    halves: bool = True
    """Whether it works in bfloat16."""

    @property
    def watch(self) -> str:
        return self.things[0] if self.things == ["net"] else ", ".join(f"{t}={t}" for t in self.things)

    @property
    def parameters(self) -> str:
        if self.things == ["net"]:
            return "net.parameters()"
        modules = [f"*{t}.parameters()" if t[0].islower() else t for t in self.things]
        return f"[{', '.join(modules)}]"


def _class(tasks: Lines, trunk: str, heads: Lines, forward: Lines) -> Lines:
    return [
        "class Net(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        f"        self.trunk = {trunk}",
        *(f"        {line}" for line in heads),
        "",
        "    def forward(self, x):",
        *(f"        {line}" for line in forward),
        "",
        "net = Net()",
    ]


def _attributes(tasks: Lines) -> Lines:
    return [f"self.{t} = nn.Linear(8, 1)" for t in tasks]


def _heads(tasks: Lines, pattern: str) -> dict[str, str]:
    return {t: pattern.format(t=t) for t in tasks}


MLP = "nn.Sequential(nn.Linear(6, 8), nn.Tanh())"


def tuple_class(tasks: Lines) -> Net:
    returned = ", ".join(f"self.{t}(z)" for t in tasks)
    make = _class(tasks, MLP, _attributes(tasks), ["z = self.trunk(x)", f"return {returned}"])
    names = ", ".join(f"{t}_out" for t in tasks)
    heads = _heads(tasks, "net.{t}.parameters()")
    return Net(
        make,
        [f"{names} = net(x)"],
        {t: f"{t}_out[:, 0]" for t in tasks},
        heads=heads,
        trunk="net.trunk.parameters()",
    )


def dict_class(tasks: Lines) -> Net:
    returned = ", ".join(f'"{t}": self.{t}(z).squeeze(-1)' for t in tasks)
    make = _class(tasks, MLP, _attributes(tasks), ["z = self.trunk(x)", f"return {{{returned}}}"])
    heads = _heads(tasks, "net.{t}.parameters()")
    return Net(make, ["out = net(x)"], {t: f'out["{t}"]' for t in tasks}, heads=heads, trunk="net.trunk.parameters()")


def head_dict(tasks: Lines) -> Net:
    made = ", ".join(f'"{t}": nn.Linear(8, 1)' for t in tasks)
    make = _class(
        tasks,
        MLP,
        [f"self.heads = nn.ModuleDict({{{made}}})"],
        ["z = self.trunk(x)", "return {name: head(z)[:, 0] for name, head in self.heads.items()}"],
    )
    heads = _heads(tasks, 'net.heads["{t}"].parameters()')
    return Net(make, ["pred = net(x)"], {t: f'pred["{t}"]' for t in tasks}, heads=heads, trunk="net.trunk.parameters()")


def module_dict(tasks: Lines) -> Net:
    made = ", ".join(f'"{t}": nn.Linear(8, 1)' for t in tasks)
    return Net(
        [f'net = nn.ModuleDict({{"trunk": nn.Linear(6, 8), {made}}})'],
        ['z = net["trunk"](x).tanh()'],
        {t: f'net["{t}"](z)[:, 0]' for t in tasks},
        heads=_heads(tasks, 'net["{t}"].parameters()'),
        trunk='net["trunk"].parameters()',
    )


def separate(tasks: Lines) -> Net:
    return Net(
        [f"trunk = {MLP}", *(f"{t}_head = nn.Linear(8, 1)" for t in tasks)],
        ["z = trunk(x)"],
        {t: f"{t}_head(z)[:, 0]" for t in tasks},
        things=["trunk", *(f"{t}_head" for t in tasks)],
        heads=_heads(tasks, "{t}_head.parameters()"),
        trunk="trunk.parameters()",
    )


def embedding(tasks: Lines, sparse: bool = False) -> Net:
    option = ", sparse=True" if sparse else ""
    returned = ", ".join(f"self.{t}(z)" for t in tasks)
    make = _class(
        tasks,
        f"nn.Embedding(20, 8{option})",
        _attributes(tasks),
        ["z = self.trunk(x).mean(1).tanh()", f"return {returned}"],
    )
    names = ", ".join(f"{t}_logit" for t in tasks)
    return Net(
        make,
        [f"{names} = net(x)", "v = x.float() / 10 - 1"],
        {t: f"{t}_logit[:, 0]" for t in tasks},
        batch="torch.randint(0, 20, (16, 6))",
        feature="v",
        heads=_heads(tasks, "net.{t}.parameters()"),
        trunk="net.trunk.parameters()",
        sparse=sparse,
        halves=not sparse,
    )


def sparse_embedding(tasks: Lines) -> Net:
    return embedding(tasks, sparse=True)


def norm_dropout(tasks: Lines) -> Net:
    returned = ", ".join(f"self.{t}(z)" for t in tasks)
    trunk = "nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))"
    make = _class(tasks, trunk, _attributes(tasks), ["z = self.trunk(x)", f"return {returned}"])
    names = ", ".join(f"{t}_out" for t in tasks)
    heads = _heads(tasks, "net.{t}.parameters()")
    return Net(
        make,
        [f"{names} = net(x)"],
        {t: f"{t}_out[:, 0]" for t in tasks},
        heads=heads,
        trunk="net.trunk.parameters()",
    )


def two_trunks(tasks: Lines) -> Net:
    """The first task leaves early, the others share one more layer."""
    made = [*_attributes(tasks), "self.upper = nn.Sequential(nn.Linear(8, 8), nn.ELU())"]
    outs = ", ".join(f'"{t}": self.{t}({"z" if i == 0 else "u"})[:, 0]' for i, t in enumerate(tasks))
    make = _class(tasks, MLP, made, ["z = self.trunk(x)", "u = self.upper(z)", f"return {{{outs}}}"])
    return Net(make, ["out = net(x)"], {t: f'out["{t}"]' for t in tasks}, trunk="net.trunk.parameters()",
               heads=_heads(tasks, "net.{t}.parameters()"))  # fmt: skip


def recurrent(tasks: Lines) -> Net:
    made = ", ".join(f'"{t}": nn.Linear(8, 1)' for t in tasks)
    return Net(
        [f'net = nn.ModuleDict({{"gru": nn.GRU(2, 8, batch_first=True), {made}}})'],
        ['states, last = net["gru"](x.view(len(x), 3, 2))', "z = last[0]"],
        {t: f'net["{t}"](z)[:, 0]' for t in tasks},
        heads=_heads(tasks, 'net["{t}"].parameters()'),
        trunk='net["gru"].parameters()',
        halves=False,
    )


def checkpointed(tasks: Lines, reentrant: bool = False) -> Net:
    base = separate(tasks)
    base.make = ["from torch.utils.checkpoint import checkpoint", *base.make]
    base.forward = [f"z = checkpoint(trunk, x{'.requires_grad_()' if reentrant else ''}, use_reentrant={reentrant})"]
    base.reentrant = reentrant
    return base


def checkpointed_reentrant(tasks: Lines) -> Net:
    return checkpointed(tasks, reentrant=True)


def scripted(tasks: Lines) -> Net:
    base = tuple_class(tasks)
    base.make = [line.replace(MLP, f"torch.jit.script({MLP})") for line in base.make]
    base.halves = False
    return base


def scripted_norm(tasks: Lines) -> Net:
    base = norm_dropout(tasks)
    base.make = [
        line.replace("self.trunk = nn.Sequential", "self.trunk = torch.jit.script(nn.Sequential") + ")"
        if "self.trunk = nn.Seq" in line
        else line
        for line in base.make
    ]
    base.halves = False
    return base


def compiled(tasks: Lines, backend: str = "eager") -> Net:
    base = tuple_class(tasks)
    base.make = [*base.make, f'model = torch.compile(net, backend="{backend}")']
    base.forward = [line.replace("net(x)", "model(x)") for line in base.forward]
    base.compiled, base.halves = True, False
    return base


def compiled_aot(tasks: Lines) -> Net:
    return compiled(tasks, "aot_eager")


def experts(tasks: Lines) -> Net:
    made = [
        "self.experts = nn.ModuleList([nn.Linear(6, 8) for _ in range(3)])",
        *(f"self.{t}_gate = nn.Linear(6, 3)" for t in tasks),
        *_attributes(tasks),
    ]
    make = _class(
        tasks,
        "nn.Identity()",
        made,
        [
            "e = torch.stack([torch.relu(expert(x)) for expert in self.experts], 1)",
            "towers = []",
            *(
                f"towers.append(self.{t}((self.{t}_gate(x).softmax(-1).unsqueeze(-1) * e).sum(1)).squeeze(1))"
                for t in tasks
            ),
            "return towers",
        ],
    )
    return Net(make, ["ys = net(x)"], {t: f"ys[{i}]" for i, t in enumerate(tasks)}, trunk="net.experts.parameters()")


def leaves(tasks: Lines) -> Net:
    """Plain tensors, no module at all."""
    return Net(
        [
            "W = (torch.randn(6, 8) / 3).requires_grad_()",
            *(f"{t.upper()} = torch.randn(8, requires_grad=True)" for t in tasks),
        ],
        ["z = torch.tanh(x @ W)"],
        {t: f"(z @ {t.upper()})" for t in tasks},
        things=["W", *(t.upper() for t in tasks)],
        heads={t: f"[{t.upper()}]" for t in tasks},
        trunk="[W]",
        halves=False,
    )  # fmt: skip


def attention(tasks: Lines) -> Net:
    returned = ", ".join(f"self.{t}(z)" for t in tasks)
    make = _class(
        tasks,
        "nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)",
        ["self.project = nn.Linear(2, 8)", *_attributes(tasks)],
        ["z = self.trunk(self.project(x.reshape(len(x), 3, 2))).mean(1)", f"return {returned}"],
    )
    names = ", ".join(f"{t}_hat" for t in tasks)
    return Net(make, [f"{names} = net(x)"], {t: f"{t}_hat[:, 0]" for t in tasks}, trunk="net.trunk.parameters()",
               halves=False)  # fmt: skip


def convolution(tasks: Lines) -> Net:
    returned = ", ".join(f"self.{t}(z)" for t in tasks)
    make = _class(
        tasks,
        "nn.Sequential(nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 8), nn.SiLU())",
        _attributes(tasks),
        ["z = self.trunk(x.view(len(x), 1, 3, 2))", f"return {returned}"],
    )
    names = ", ".join(f"{t}_map" for t in tasks)
    return Net(make, [f"{names} = net(x)"], {t: f"{t}_map.flatten()" for t in tasks}, trunk="net.trunk.parameters()",
               heads=_heads(tasks, "net.{t}.parameters()"), halves=False)  # fmt: skip


NETS: dict[str, Callable[[Lines], Net]] = {
    f.__name__: f
    for f in (
        tuple_class, dict_class, head_dict, module_dict, separate, embedding, sparse_embedding, norm_dropout,
        two_trunks, recurrent, checkpointed, checkpointed_reentrant, scripted, scripted_norm, compiled, compiled_aot,
        experts, leaves, attention, convolution,
    )
}  # fmt: skip
