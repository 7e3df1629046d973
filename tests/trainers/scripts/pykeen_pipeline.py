"""pykeen: its pipeline with TransE and a regulariser: one loss and a penalty."""

import logging
import warnings

import _by_hand
import numpy as np
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
random = np.random.default_rng(0)
triples = np.stack([random.integers(0, 20, 200), random.integers(0, 3, 200), random.integers(0, 20, 200)], 1)
factory = TriplesFactory.from_labeled_triples(triples.astype(str))
result = pipeline(
    training=factory,
    testing=factory,
    model="TransE",
    model_kwargs={"embedding_dim": 8},
    regularizer="LpRegularizer",
    regularizer_kwargs={"weight": 0.1},
    training_kwargs={"num_epochs": 3, "use_tqdm": False, "batch_size": 64},
    evaluation_kwargs={"use_tqdm": False},
    random_seed=0,
    device="cpu",
)
print(result.losses)
_by_hand.finish(result.model)
