"""transformers.Trainer: a small BERT with two heads, accumulation over two batches, clipping by default.

With `kwargs`, the model's forward() has **kwargs: then nobody divides the accumulated loss
(findings/transformers_kwargs_scale_the_gradient.sh).
"""

import os
import sys
import tempfile
import warnings

import _by_hand
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertModel,
    BertPreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

DIVISOR = 1 if "kwargs" in sys.argv else 2
os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")
logging.set_verbosity_error()
_by_hand.clip_norm = 1.0


class TwoHeads(BertPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config)
        self.intent = nn.Linear(config.hidden_size, 3)
        self.tags = nn.Linear(config.hidden_size, 4)
        self.post_init()

    def forward(self, input_ids, labels=None, tags=None):
        hidden = self.bert(input_ids).last_hidden_state
        intent_loss = F.cross_entropy(self.intent(hidden[:, 0]), labels)
        tag_loss = F.cross_entropy(self.tags(hidden).transpose(1, 2), tags)
        if _by_hand.on and self.training:
            _by_hand.tasks(self, intent_loss=intent_loss / DIVISOR, tag_loss=tag_loss / DIVISOR)
        return {"loss": intent_loss + tag_loss}


class Open(TwoHeads):
    def forward(self, input_ids, labels=None, tags=None, **kwargs):
        return super().forward(input_ids, labels, tags)


set_seed(0)
config = BertConfig(
    vocab_size=30,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=8,
    attn_implementation="eager",
)
model = (Open if "kwargs" in sys.argv else TwoHeads)(config)
words = torch.randint(0, 30, (128, 8))
data = [{"input_ids": w, "labels": w.sum() % 3, "tags": w % 4} for w in words]
with tempfile.TemporaryDirectory() as folder:
    options = TrainingArguments(
        folder,
        num_train_epochs=2,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
    )
    trainer = Trainer(model, options, train_dataset=data)
    trainer.remove_callback(PrinterCallback)  # it prints how long the training took
    result = trainer.train()
print(result.global_step, result.training_loss)
_by_hand.finish(model)
