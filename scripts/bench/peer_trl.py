"""TRL's trainers on a GPT-2 of the same size: DPO on pairs that are there, and on fresh ones.

Words stand for tokens. The reference's log-probabilities are worked out before, as ours are;
fresh pairs are judged by a function that costs nothing. PyTorch on the processor, all cores.
"""

import os
import random
import tempfile

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_DISABLED": "true"}
os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}

from datasets import Dataset
from serve import serve
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

BOTH = ("chosen", "rejected")
QUIET = {
    **{"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "use_cpu": True},
    **{"disable_tqdm": True, "remove_unused_columns": False, "bf16": False, "max_grad_norm": 1.0},
    **{"gradient_checkpointing": False, "lr_scheduler_type": "constant", "seed": 0},
}


def words(count):
    """A tokeniser whose words are `t0`, `t1` and so on."""
    names = {f"t{i}": i for i in range(count)} | {"<pad>": count, "<end>": count + 1}
    model = Tokenizer(WordLevel(names, unk_token="t0"))
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )


def network(task, tokens):
    config = GPT2Config(
        vocab_size=len(tokens),
        n_positions=task["prompt"] + task["length"] + 2,
        n_embd=task["settings"]["width"],
        n_layer=task["settings"]["layers"],
        n_head=task["settings"]["heads"],
        **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "use_cache": True},
        bos_token_id=None,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    return GPT2LMHeadModel(config)


def text(draw, task, length):
    return " ".join(f"t{draw.randrange(task['vocabulary'])}" for _ in range(length))


def train(task):
    settings, draw = task["settings"], random.Random(0)
    updates = task["iterations"] * settings["updates"]
    online = settings.get("source") == "policy"
    tokens = words(task["vocabulary"])
    model = network(task, tokens)
    common = QUIET | {
        "output_dir": tempfile.mkdtemp(prefix="trl-"),
        "per_device_train_batch_size": settings["batch_size"],
        "max_steps": updates,
        "learning_rate": settings["learning_rate"],
        "beta": 0.1,
    }
    prompts = [text(draw, task, task["prompt"]) for _ in range(settings["pairs"])]
    if online:
        from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

        trainer = OnlineDPOTrainer(
            model=model,
            reward_funcs=lambda prompts, completions, **_: [float(len(x)) for x in completions],
            args=OnlineDPOConfig(**common, max_new_tokens=task["length"], missing_eos_penalty=None),
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=tokens,
        )
    else:
        written = [
            {"prompt": prompt} | {name: " " + text(draw, task, task["length"]) for name in BOTH}
            for prompt in prompts
        ]
        trainer = DPOTrainer(
            model=model,
            ref_model=network(task, tokens),
            args=DPOConfig(**common, precompute_ref_log_probs=True),
            train_dataset=Dataset.from_list(written),
            processing_class=tokens,
        )

    def repeat():
        trainer.train()
        return updates * settings["batch_size"]

    trainer.args.max_steps = 2
    trainer.train()  # allocates, and works out what the reference says
    trainer.args.max_steps = updates
    return 0.0, repeat, lambda: []


if __name__ == "__main__":
    serve(train)
