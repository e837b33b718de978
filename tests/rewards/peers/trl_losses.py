"""Writes trl_losses.json: what TRL's own loss methods give on three literal pairs.

In an environment with trl 1.16.0 and torch 2.13.0: `python trl_losses.py`. The trainers are
not built: their methods are called on stand-ins that hand over log-probabilities.
"""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
import trl
from trl.experimental.cpo.cpo_trainer import CPOTrainer
from trl.experimental.orpo.orpo_trainer import ORPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer

warnings.simplefilter("ignore")
# Of each pair: chosen and rejected, of the policy and of the reference.
POLICY = [[[-0.1, -0.6], [-0.7, -1.4, -2.0]], [[-0.2, -0.3, -0.9], [-1.1]], [[-0.3], [-0.6, -0.9]]]
REFERENCE = [
    [[-0.9, -1.1], [-0.5, -0.9, -1.2]],
    [[-0.6, -0.2, -0.4], [-1.6]],
    [[-1.0], [-0.7, -0.5]],
]
COLLISION = [
    [[-0.5, -0.8], [-0.9, -1.0, -1.1]],
    [[-0.4, -0.6, -0.7], [-1.2]],
    [[-0.3], [-0.8, -0.2]],
]
# KTO: of the responses that follow the prompt of the row before, chosen and rejected.
SHIFTED = [[[-0.4, -0.9], [-0.2]], [[-0.8], [-0.5, -0.1]], [[-0.6, -0.7], [-0.9]]]
SHIFTED_REFERENCE = [[[-0.8, -1.2], [-0.3]], [[-0.9], [-0.4, -0.6]], [[-0.9, -0.5], [-1.0]]]
WIDTH, BETA = 3, 0.5


def padded(rows):
    """`[2 B, T]`, all chosen and then all rejected."""
    flat = [pair[side] for side in (0, 1) for pair in rows]
    return torch.tensor([each + [0.0] * (WIDTH - len(each)) for each in flat])


def mask(rows):
    flat = [pair[side] for side in (0, 1) for pair in rows]
    return torch.tensor([[1] * len(each) + [0] * (WIDTH - len(each)) for each in flat])


def stand_in(**known):
    made = MagicMock()
    made.beta, made.accelerator.device, made.aux_loss_enabled = BETA, "cpu", False
    made.accelerator.gather_for_metrics = made.accelerator.gather = lambda x: x
    made.precompute_ref_logps = False
    for name, value in known.items():
        setattr(made, name, value)
    return made


def outputs(log_probs):
    zeros = torch.zeros_like(log_probs)
    sums = padded(COLLISION) if log_probs.shape[0] == 6 else zeros
    return SimpleNamespace(
        log_probs=log_probs,
        entropy=zeros,
        mean_logits=zeros,
        is_top1=zeros.bool(),
        log_sum_sq_probs=sums,
    )


def dpo(loss_types, **known):
    policy, reference = padded(POLICY).requires_grad_(), padded(REFERENCE)
    settings = {
        "loss_types": loss_types,
        "loss_weights": [1.0] * len(loss_types),
        "label_smoothing": 0.0,
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
        "ld_alpha": None,
        "use_weighting": False,
        "args": SimpleNamespace(discopop_tau=0.05, gradient_checkpointing_kwargs=None),
    } | known
    made = stand_in(ref_model=lambda **_: outputs(reference), **settings)
    there = torch.cat([torch.zeros(6, 1), mask(POLICY)], 1).long()
    inputs = {"input_ids": there, "attention_mask": torch.ones_like(there)}
    inputs["completion_mask"] = there
    model = MagicMock(side_effect=lambda **_: outputs(policy))
    loss = DPOTrainer._compute_loss(made, model, inputs, False)
    return told(loss, policy)


def told(loss, policy):
    loss.backward()
    return {"loss": loss.item(), "slope": policy.grad.tolist()}


def kto(**known):
    policy, reference = padded(POLICY).requires_grad_(), padded(REFERENCE)
    other = [padded(SHIFTED), padded(SHIFTED_REFERENCE)]
    settings = {"desirable_weight": 1.0, "undesirable_weight": 1.0, "loss_type": "kto"} | known
    made = stand_in(calculate_KL=settings["loss_type"] == "kto", **settings)
    shifted = iter(other)
    made._compute_kl_logps = lambda *_: next(shifted).sum(1)
    made.ref_model = lambda **_: outputs(reference)
    there = torch.cat([torch.zeros(6, 1), mask(POLICY)], 1).long()
    inputs = {"input_ids": there, "attention_mask": torch.ones_like(there)}
    inputs |= {"completion_mask": there, "label": torch.tensor([True] * 3 + [False] * 3)}
    model = MagicMock(side_effect=lambda **_: outputs(policy))
    return told(KTOTrainer._compute_loss(made, model, inputs, False), policy)


def without_reference(method, means, **known):
    policy = padded(POLICY).requires_grad_()
    whole = policy.sum(1) / mask(POLICY).sum(1) if means else policy.sum(1)
    settings = {"alpha": 0.0, "label_smoothing": 0.0, "simpo_gamma": 0.5} | known
    made = stand_in(**settings)
    losses = method(made, whole[:3], whole[3:])[0]
    return told(losses.mean(), policy)


def main():
    found = {
        name: dpo([name])
        for name in (
            *("sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "aot"),
            *("aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"),
        )
    }
    found |= {f"{name} 0.1": dpo([name], label_smoothing=0.1) for name in ("exo_pair", "robust")}
    for name in ("forward_kl", "js_divergence", "alpha_divergence"):
        found[name] = dpo(["sigmoid"], f_divergence_type=name)
    found["sigmoid + sft"] = dpo(["sigmoid", "sft"])
    found["wpo"] = dpo(["sigmoid"], use_weighting=True)
    found |= {f"ld {x}": dpo(["sigmoid"], ld_alpha=x) for x in (0.0, 0.5)}
    found["kto"] = kto()
    found["kto 1 2"] = kto(undesirable_weight=2.0)
    found["apo_zero_unpaired"] = kto(loss_type="apo_zero_unpaired")
    cpo, odds = CPOTrainer.cpo_loss, ORPOTrainer.odds_ratio_loss
    found["cpo"] = without_reference(cpo, False, loss_type="sigmoid")
    found["cpo 0.1"] = without_reference(cpo, False, loss_type="sigmoid", label_smoothing=0.1)
    found["simpo"] = without_reference(cpo, True, loss_type="simpo")
    found["orpo odds"] = without_reference(odds, True)
    about = {"trl": trl.__version__, "torch": torch.__version__, "beta": BETA}
    pairs = {
        "policy": POLICY,
        "reference": REFERENCE,
        "collision": COLLISION,
        "shifted": SHIFTED,
        "shifted_reference": SHIFTED_REFERENCE,
    }
    lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in rounded(found).items()]
    losses = ",\n  ".join(lines)
    text = f"""{{
 "about": {json.dumps(about)},
 "pairs": {json.dumps(pairs)},
 "losses": {{
  {losses}
 }}
}}
"""
    Path(__file__).with_name("trl_losses.json").write_text(text)
    for name, each in found.items():
        print(f"{name:20} {each['loss']:.6f}")


def rounded(tree):
    if isinstance(tree, dict):
        return {name: rounded(each) for name, each in tree.items()}
    return [rounded(each) for each in tree] if isinstance(tree, list) else round(tree, 9)


main()
