"""Records values and gradients of TRL's own loss functions into cases.json.

    python -m venv venv && venv/bin/pip install trl==1.10.0 torch==2.13.0 requests
    venv/bin/python tests/losses/trl/record.py

Trainers are made without their constructors: only the attributes that a loss reads are set. Models
are functions that return fixed logits, so that a record holds logits, and gradients by them.
"""

import json
import os
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from trl.experimental.cpo import CPOTrainer
from trl.experimental.gkd import GKDTrainer
from trl.experimental.grpo_with_replay_buffer import GRPOWithReplayBufferTrainer, ReplayBuffer
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.callbacks import SyncRefModelCallback
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.sft_trainer import dft_loss

torch.set_default_dtype(torch.float64)
PAIRS, TOKENS, VOCABULARY = 3, 5, 6


class Accelerator:
    """One process."""

    device = torch.device("cpu")
    num_processes = 1
    process_index = 0
    sync_gradients = True

    def gather(self, value):
        return value

    gather_for_metrics = gather

    def reduce(self, value, reduction="sum"):
        return value

    def pad_across_processes(self, value, **_):
        return value

    def unwrap_model(self, model):
        return model


def trainer_of(kind, **attributes):
    trainer = object.__new__(kind)
    trainer.accelerator = Accelerator()
    trainer._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    trainer._total_train_tokens = 0
    trainer.aux_loss_enabled = False
    trainer.model = SimpleNamespace(training=True, is_gradient_checkpointing=False)
    for name, value in attributes.items():
        setattr(trainer, name, value)
    return trainer


def model_of(logits):
    """A model that answers any call with these logits."""
    return lambda *_, **__: SimpleNamespace(logits=logits)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ids(seed, *shape):
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def mask_of(lengths):
    """Position 0 is the prompt; answers are padded on the right. [N, 1 + T]"""
    return torch.tensor([[0] + [1] * n + [0] * (TOKENS - n) for n in lengths])


def floats(tensor):
    return [float(f"{value:.12g}") for value in tensor.detach().reshape(-1).tolist()]


def gradient_of(loss, *leaves):
    loss.backward()
    return [floats(leaf.grad) for leaf in leaves]


def metrics_of(trainer):
    return {name: values[-1] for name, values in trainer._metrics["train"].items()}


# The policy's and the reference's logits of chosen and rejected answers, [2B, 1 + T, V].
LENGTHS = [4, 2, 5, 3, 5, 1]
INPUT_IDS = ids(1, 2 * PAIRS, 1 + TOKENS)
LOGITS, REF_LOGITS = draw(2, 2 * PAIRS, 1 + TOKENS, VOCABULARY), draw(3, 2 * PAIRS, 1 + TOKENS, VOCABULARY)


def dpo(**settings):
    defaults = {
        "ld_alpha": None,
        "use_weighting": False,
        "beta": 0.3,
        "label_smoothing": 0.0,  # TRL's sigmoid has none
        "loss_types": ["sigmoid"],
        "loss_weights": [1.0],
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
    }
    settings = defaults | settings
    trainer = trainer_of(
        DPOTrainer,
        **settings,
        precompute_ref_logps=False,
        ref_model=model_of(REF_LOGITS),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=0.05),
    )
    logits = LOGITS.clone().requires_grad_()
    mask = mask_of(LENGTHS)
    inputs = {"input_ids": INPUT_IDS, "completion_mask": mask, "attention_mask": torch.ones_like(mask)}
    loss = trainer._compute_loss(model_of(logits), inputs, False)
    (gradient,) = gradient_of(loss, logits)
    return {"settings": settings, "loss": loss.item(), "gradient": gradient, "metrics": metrics_of(trainer)}


def pair_batch():
    """The same pairs, as the CPO and the ORPO trainer get them."""
    mask = mask_of(LENGTHS)
    labels = torch.where(mask == 1, INPUT_IDS, -100)
    attention = torch.cat((torch.ones(2 * PAIRS, 1, dtype=torch.long), mask[:, 1:]), 1)
    batch = {}
    for name, part in (("chosen", slice(0, PAIRS)), ("rejected", slice(PAIRS, None))):
        batch[f"{name}_input_ids"] = INPUT_IDS[part]
        batch[f"{name}_attention_mask"] = attention[part]
        batch[f"{name}_labels"] = labels[part]
    return batch


def reference_free(kind, **settings):
    trainer = trainer_of(kind, is_encoder_decoder=False, pad_token_id=0, padding_value=0, **settings)
    logits = LOGITS.clone().requires_grad_()
    loss, metrics = trainer.get_batch_loss_metrics(model_of(logits), pair_batch())
    (gradient,) = gradient_of(loss, logits)
    metrics = {k: v for k, v in metrics.items() if not k.startswith("logits/")}
    return {"settings": settings, "loss": loss.item(), "gradient": gradient, "metrics": metrics}


def cpo(**settings):
    defaults = {"loss_type": "sigmoid", "beta": 0.3, "label_smoothing": 0.1, "cpo_alpha": 0.7}
    return reference_free(CPOTrainer, **(defaults | {"simpo_gamma": 0.5, "alpha": 0.0} | settings))


def dft():
    logits = LOGITS.clone().requires_grad_()
    labels = torch.where(mask_of(LENGTHS) == 1, INPUT_IDS, -100)
    loss = dft_loss(SimpleNamespace(logits=logits), labels)
    (gradient,) = gradient_of(loss, logits)
    return {"loss": loss.item(), "gradient": gradient}


def kto(labels, **settings):
    """One answer a row: the six answers above, their log-probabilities of mismatched prompts apart."""
    settings = {
        "loss_type": "kto",
        "beta": 0.3,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
    } | settings
    calculate = settings["loss_type"] == "kto"
    kl_logits, ref_kl_logits = draw(5, *LOGITS.shape), draw(6, *LOGITS.shape)
    mask = mask_of(LENGTHS)
    logits = LOGITS.clone().requires_grad_()
    batch = {
        "input_ids": INPUT_IDS,
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "label": torch.tensor(labels),
    }
    rolled = [LENGTHS[-1], *LENGTHS[:-1]]
    if calculate:
        batch |= {
            "KL_input_ids": torch.roll(INPUT_IDS, 1, 0),
            "KL_attention_mask": torch.ones_like(mask),
            "KL_completion_mask": mask_of(rolled),
        }
    trainer = trainer_of(
        KTOTrainer,
        **settings,
        calculate_KL=calculate,
        use_liger_kernel=False,
        precompute_ref_logps=True,
    )
    reference = model_of(REF_LOGITS)
    reference.is_gradient_checkpointing = False
    trainer.ref_model = reference
    trainer.args = SimpleNamespace(gradient_checkpointing_kwargs=None)

    def answers(inputs, first, second):
        calls = iter((first, second))
        return trainer.compute_ref_log_probs(lambda *_, **__: SimpleNamespace(logits=next(calls)), inputs)

    ref_logps, ref_kl_logps = answers(batch, REF_LOGITS, ref_kl_logits)
    batch |= {"ref_logps": ref_logps} | ({"ref_KL_logps": ref_kl_logps} if calculate else {})
    # The first call is that of the mismatched rows.
    calls = iter((kl_logits, logits) if calculate else (logits,))
    loss = trainer._compute_loss(lambda *_, **__: SimpleNamespace(logits=next(calls)), batch, False)
    (gradient,) = gradient_of(loss, logits)
    kl_logps = trainer._compute_kl_logps(model_of(kl_logits), batch) if calculate else None
    return {
        "settings": settings,
        "labels": labels,
        "ref_logps": floats(ref_logps),
        "kl_logps": None if kl_logps is None else floats(kl_logps),
        "ref_kl_logps": None if ref_kl_logps is None else floats(ref_kl_logps),
        "loss": loss.item(),
        "gradient": gradient,
        "metrics": metrics_of(trainer),
    }


OLD_LOGITS = LOGITS + 0.4 * draw(4, *LOGITS.shape)


def log_probs(logits):
    """Of the completions' tokens, [N, T]."""
    return torch.log_softmax(logits[:, :-1], -1).gather(-1, INPUT_IDS[:, 1:, None]).squeeze(-1)


def entropies_of(logits):
    p = torch.softmax(logits[:, :-1], -1)
    return -(p * torch.log_softmax(logits[:, :-1], -1)).sum(-1)


def completions():
    mask = mask_of(LENGTHS)[:, 1:]
    return {
        "prompt_ids": INPUT_IDS[:, :1],
        "prompt_mask": torch.ones(2 * PAIRS, 1, dtype=torch.long),
        "completion_ids": INPUT_IDS[:, 1:],
        "completion_mask": mask,
        "num_items_in_batch": mask.sum(),
    }


ADVANTAGES = [0.8, -1.1, 0.3, 0.0, -0.4, 1.5]


def rloo(epsilon_low=0.2, epsilon_high=0.2):
    logits = LOGITS.clone().requires_grad_()
    mask = mask_of(LENGTHS)[:, 1:]
    trainer = trainer_of(RLOOTrainer, epsilon_low=epsilon_low, epsilon_high=epsilon_high)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (
        log_probs(logits),
        entropies_of(logits).detach(),
        None,
    )
    # A small step away from the sampling policy: whole sequences have large ratios.
    old = (log_probs(LOGITS + 0.1 * draw(4, *LOGITS.shape)) * mask).sum(1)
    inputs = completions() | {"advantages": torch.tensor(ADVANTAGES), "old_logps": old}
    loss = trainer._compute_loss(model_of(logits), inputs)
    (gradient,) = gradient_of(loss, logits)
    return {
        "settings": {"epsilon": epsilon_low, "epsilon_high": epsilon_high},
        "advantages": ADVANTAGES,
        "old_logps": floats(old),
        "loss": loss.item(),
        "gradient": gradient,
        "metrics": metrics_of(trainer),
    }


REWARDS = [[1.0, 0.2], [0.0, -0.3], [2.5, float("nan")], [0.0, 1.0], [float("nan")] * 2, [0.5, 0.5]]
WEIGHTS = [1.0, 0.5]


def rloo_advantages(**settings):
    """Groups of three; the fifth completion has no score, the third lacks one."""
    settings = {"beta": 0.0, "reward_clip_range": None, "normalize_advantages": False} | settings
    model, reference = object(), object()
    trainer = trainer_of(
        RLOOTrainer,
        **settings,
        _generate=lambda prompts: (
            [[0]] * len(prompts),
            [INPUT_IDS[n, 1 : 1 + length].tolist() for n, length in enumerate(LENGTHS)],
            [""] * len(prompts),
        ),
        _tokenizer=SimpleNamespace(pad_token_id=0, eos_token_id=1),
        processing_class=SimpleNamespace(batch_decode=lambda ids, **_: [""] * len(ids)),
        _calculate_rewards=lambda *_: torch.tensor(REWARDS),
        pad_to_multiple_of=None,
        mask_truncated_completions=False,
        args=SimpleNamespace(
            per_device_train_batch_size=2 * PAIRS, gradient_checkpointing_kwargs=None
        ),
        ref_model=reference,
        num_generations=3,
        reward_weights=torch.tensor(WEIGHTS),
        reward_func_names=["first", "second"],
        _logs=defaultdict(list, {"rewards": defaultdict(list)}),
        _pending_extra_logs={},
        _pending_metrics={},
    )
    trainer._get_per_token_logps_and_entropies = lambda which, *_, **__: (
        log_probs(REF_LOGITS if which is reference else LOGITS),
        None,
        None,
    )
    made = trainer._generate_and_score_completions([{"prompt": ""}] * (2 * PAIRS))
    return {"settings": settings, "advantages": floats(made["advantages"])}


def grpo_entropy(window, **settings):
    """A GRPO loss with an entropy bonus; `window`: micro-batches in a row, for the adaptive form."""
    settings = {
        "loss_type": "grpo",
        "entropy_coef": 0.0,
        "use_adaptive_entropy": False,
        "top_entropy_quantile": 1.0,
        "entropy_target": 0.2,
        "entropy_coef_min": 0.0,
        "entropy_coef_max": 1.0,
        "entropy_coef_delta": 0.005,
    } | settings
    args = SimpleNamespace(
        delta=None,
        use_bias_correction_kl=False,
        steps_per_generation=1,
        sapo_temperature_pos=1.0,
        sapo_temperature_neg=1.05,
        **{k: v for k, v in settings.items() if k.startswith("entropy_")},
    )
    trainer = trainer_of(
        GRPOTrainer,
        args=args,
        loss_type=settings["loss_type"],
        entropy_coef=settings["entropy_coef"],
        use_adaptive_entropy=settings["use_adaptive_entropy"],
        _entropy_bonus_enabled=settings["entropy_coef"] != 0 or settings["use_adaptive_entropy"],
        _last_world_entropy=float("inf"),
        _entropy_window_stats=None,
        top_entropy_quantile=settings["top_entropy_quantile"],
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=0.0,
        epsilon_low=0.2,
        epsilon_high=0.2,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=TOKENS,
    )
    steps = []
    for _ in range(window):
        logits = LOGITS.clone().requires_grad_()
        trainer._get_per_token_logps_and_entropies = lambda *_, **__: (
            log_probs(logits),
            entropies_of(logits),
            None,
        )
        inputs = completions() | {
            "advantages": torch.tensor(ADVANTAGES),
            "old_per_token_logps": log_probs(OLD_LOGITS),
        }
        loss = trainer._compute_loss(model_of(logits), inputs)
        (gradient,) = gradient_of(loss, logits)
        steps.append({"loss": loss.item(), "gradient": gradient, "entropy_coef": trainer.entropy_coef})
    return {
        "settings": settings,
        "advantages": ADVANTAGES,
        "old_log_probs": floats(log_probs(OLD_LOGITS)),
        "steps": steps,
    }


def gkd(beta, temperature):
    logits = LOGITS.clone().requires_grad_()
    labels = torch.where(mask_of(LENGTHS) == 1, INPUT_IDS, -100)[:, 1:]
    loss = GKDTrainer.generalized_jsd_loss(
        logits[:, :-1], REF_LOGITS[:, :-1], labels, beta=beta, temperature=temperature
    )
    (gradient,) = gradient_of(loss, logits)
    return {"beta": beta, "temperature": temperature, "loss": loss.item(), "gradient": gradient}


def sync_ref_model(alpha):
    """The reference's weights after two updates of the policy."""
    policy, reference = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    steps = []
    for step in range(3):
        with torch.no_grad():
            policy.weight.copy_(draw(20 + step, 2, 3))
            if step == 0:
                reference.weight.copy_(policy.weight)
        if step > 0:
            SyncRefModelCallback._sync_target_model(policy, reference, alpha)
        steps.append({"policy": floats(policy.weight), "reference": floats(reference.weight)})
    return {"alpha": alpha, "steps": steps}


def replay_buffer(size, rounds):
    """What a buffer keeps after each round of four groups with three completions."""
    trainer = trainer_of(
        GRPOWithReplayBufferTrainer,
        replay_buffer=ReplayBuffer(size),
        num_generations=3,
        use_vllm=False,
    )
    recorded = []
    for number in range(rounds):
        rewards = draw(30 + number, 4, 3).round(decimals=1)
        rewards[number % 4] = 0.5
        deviations = rewards.std(1, keepdim=True).expand(4, 3)
        advantages = (rewards - rewards.mean(1, keepdim=True)) / (deviations + 1e-4)
        ones = torch.ones(12, 1, dtype=torch.long)
        trainer.update_replay_buffer(
            deviations[:, 0] > 0, advantages, deviations, ones, ones, ones, ones, {}, [], None, None, None
        )
        kept = sorted((float(f"{score:.12g}") for score, _ in trainer.replay_buffer.heap))
        recorded.append({
            "advantages": floats(advantages),
            "deviations": floats(deviations[:, 0]),
            "kept": kept,
        })
    return {"size": size, "rounds": recorded}


CASES = {
    "versions": {name: version(name) for name in ("trl", "torch")},
    "vocabulary": VOCABULARY,
    "lengths": LENGTHS,
    "input_ids": INPUT_IDS.tolist(),
    "logits": floats(LOGITS),
    "ref_logits": floats(REF_LOGITS),
    "dpo": [
        dpo(),
        dpo(ld_alpha=0.4),
        dpo(ld_alpha=0.4, loss_types=["ipo", "sft"], loss_weights=[0.5, 2.0]),
        dpo(ld_alpha=0.0, loss_types=["apo_down", "sigmoid_norm"], loss_weights=[1.0, 1.0]),
        dpo(use_weighting=True),
        dpo(use_weighting=True, loss_types=["sigmoid", "ipo"], loss_weights=[1.0, 0.3]),
        dpo(use_weighting=True, ld_alpha=0.5, f_divergence_type="js_divergence"),
        dpo(loss_types=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0]),  # MPO
    ],
    "cpo": [
        cpo(),
        cpo(cpo_alpha=0.0, label_smoothing=0.0),
        cpo(loss_type="simpo", beta=2.0, simpo_gamma=1.6, cpo_alpha=0.0),
        cpo(loss_type="simpo", beta=2.0),
        cpo(loss_type="simpo", beta=2.0, cpo_alpha=0.0, alpha=0.25),
    ],
    "orpo": [reference_free(ORPOTrainer, beta=0.1), reference_free(ORPOTrainer, beta=1.0)],
    "dft": dft(),
    "kto": [
        kto([True, False, True, True, False, False]),
        kto([True, False, False, True, False, False], desirable_weight=1.6, undesirable_weight=0.7),
        kto([True] * 6),
        kto([True, False, True, True, False, False], loss_type="apo_zero_unpaired"),
    ],
    "rloo": [rloo(), rloo(0.05, 0.3)],
    "rewards": [[None if value != value else value for value in row] for row in REWARDS],
    "reward_weights": WEIGHTS,
    "rloo_advantages": [
        rloo_advantages(),
        rloo_advantages(beta=0.05),
        rloo_advantages(beta=0.2, reward_clip_range=[-0.1, 1.2], normalize_advantages=True),
    ],
    "grpo_entropy": [
        grpo_entropy(1, entropy_coef=0.05),
        grpo_entropy(1, entropy_coef=0.05, loss_type="dapo", top_entropy_quantile=0.5),
        grpo_entropy(4, use_adaptive_entropy=True, entropy_target=3.0, entropy_coef_delta=0.3),
        grpo_entropy(3, use_adaptive_entropy=True, entropy_target=0.2, entropy_coef=0.4),
    ],
    "sync_ref_model": [sync_ref_model(0.6), sync_ref_model(1.0)],
    "replay_buffer": [replay_buffer(5, 4), replay_buffer(64, 3)],
    "gkd": [gkd(beta, temperature) for beta, temperature in ((0.5, 1.0), (0.1, 2.0), (0.0, 1.0), (1.0, 0.9))],
}

path = Path(__file__).with_name("cases.json")
path.write_text(json.dumps(CASES) + "\n")
print(path, path.stat().st_size, "bytes")
