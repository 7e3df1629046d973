"""Kinds of modules, by what torch.nn calls them (AdaTask, Fig. 5-6, of which two are the paper's)."""

from __future__ import annotations

KINDS = ("embedding", "mlp", "conv", "norm", "recurrent", "attention", "other")
"""What ``by="kind"`` tells apart; the embedding and the MLP part are those of AdaTask, Fig. 5-6."""

_KIND_OF = {
    "Embedding": "embedding", "EmbeddingBag": "embedding",
    "Linear": "mlp", "Bilinear": "mlp",
    "RNN": "recurrent", "LSTM": "recurrent", "GRU": "recurrent",
    "RNNCell": "recurrent", "LSTMCell": "recurrent", "GRUCell": "recurrent",
    "MultiheadAttention": "attention", "NonDynamicallyQuantizableLinear": "attention",  # the latter is a part of it
}  # fmt: skip


def kind(module: str) -> str:
    """The kind of a module, from the class of torch.nn that it inherits from.

    "embedding": Embedding, EmbeddingBag; "mlp": Linear, Bilinear; "conv"; "norm": normalisations; "recurrent": RNN,
    LSTM, GRU and their cells; "attention": MultiheadAttention; "other": everything else, parameters that belong to a
    module of the user's own or to none among it. "" stays "": the class was not recorded.

    >>> kind("Embedding"), kind("Linear"), kind("Conv2d"), kind("LayerNorm"), kind("Module")
    ('embedding', 'mlp', 'conv', 'norm', 'other')
    """
    if not module or module in _KIND_OF:
        return _KIND_OF.get(module, "")
    if "Norm" in module:
        return "norm"
    return "conv" if module.startswith(("Conv", "LazyConv")) else "other"
