#!/usr/bin/env bash
# transformers 5.24.0, Trainer, a mixture of experts with output_router_logits=True: the model's loss is two, that of
# the tokens and router_aux_loss_coef times that of the balance between experts. With gradient_accumulation_steps=k the
# first is divided by the tokens of all k batches, in the model, so that the Trainer divides nothing; the second is a
# mean over its own batch and is divided by nobody. Accumulated, it weighs k times what the configuration says, against
# a first loss that is right. 30 models there add it so (Mixtral, Qwen3-MoE, gpt-oss, ...); trl 1.16.0 divides both.
#
# Seen (Mixtral of one layer, coefficient 0.02, SGD, lr 1; one step from the same 8 equal rows, in k batches):
#   k                                                    1       2       4
#   step of lm_head, beside that for k = 1               1.0     1.0     1.0
#   part of the router's step that is the balance's      1.0     2.0     4.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 transformers==5.24.0 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PY'
import contextlib
import io

import torch
from transformers import MixtralConfig, MixtralForCausalLM, Trainer, TrainingArguments

torch.manual_seed(0)
ids = torch.randint(5, 60, (10,))
rows = [{"input_ids": ids, "labels": ids} for _ in range(8)]


def steps(coefficient, accumulation):
    """The steps of the router and of lm_head."""
    config = MixtralConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
        output_router_logits=True,
        router_aux_loss_coef=coefficient,
    )
    torch.manual_seed(0)
    model = MixtralForCausalLM(config)
    parts = model.model.layers[0].mlp.gate.weight, model.lm_head.weight
    before = [part.detach().clone() for part in parts]
    arguments = TrainingArguments(
        "out",
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        learning_rate=1.0,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        Trainer(model, arguments, train_dataset=rows).train()
    return [old - part.detach() for old, part in zip(before, parts, strict=True)]


router, head = {}, {}
for k in (1, 2, 4):
    with_balance, without = steps(0.02, k), steps(0.0, k)
    router[k], head[k] = with_balance[0] - without[0], with_balance[1]
assert router[1].norm() > 1e-5
for k in (1, 2, 4):
    ratio = (router[k].norm() / router[1].norm()).item()
    print(f"{k} batches: lm_head {(head[k].norm() / head[1].norm()).item():.3f}, the router's balance {ratio:.3f}")
    assert (head[k] - head[1]).norm() < 1e-3 * head[1].norm()
    assert (router[k] - k * router[1]).norm() < 0.01 * router[k].norm()
PY
