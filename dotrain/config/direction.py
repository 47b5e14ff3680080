"""Which way a metric is better, by its name: `val_loss` must never be maximised unasked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dotrain.core.policy import Direction

_SMALLER = (
    "loss losses logloss crossentropy error errors err mae mse rmse rmsle msle mape smape mase "
    "nll perplexity ppl bpc bpb deviance brier ece hinge kl divergence wer cer ter eer fpr fnr fdr "
    "fid lpips latency duration runtime regret cost aic bic misclassification"
)
_LARGER = (
    "accuracy acc auc auroc rocauc auprc prauc ap map f1 fbeta precision recall sensitivity "
    "specificity tpr tnr r2 iou miou dice jaccard bleu rouge meteor mcc kappa ndcg mrr hitrate psnr "
    "ssim reward likelihood elbo throughput score"
)
_BEFORE = "val valid validation test train training dev eval best final last"
#: Words of names of which smaller is better.
SMALLER = frozenset(_SMALLER.split())
#: Words of names of which larger is better.
LARGER = frozenset(_LARGER.split())
#: Of these, what tells only if no other word does: a `loss_score` is a loss.
_WEAK = frozenset({"score"})
#: Turn a word round, at the start of a name: scikit-learn's `neg_mean_squared_error`.
_NEGATIONS = frozenset({"neg", "negative", "minus"})
#: What may stand before that.
_PREFIXES = frozenset(_BEFORE.split())

_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+")


class Judgement(NamedTuple):
    """What is to be said of a metric and its direction; at most one of these.

    Attributes:
        refusal: Why it can't be run so.
        warning: What a person should look at.
        guess: What was taken because nothing tells.
    """

    refusal: str = ""
    warning: str = ""
    guess: str = ""


def judge(metric: str, written: Direction | None) -> Judgement:
    """Hold a metric's name against its direction.

    Args:
        metric: Its name.
        written: The direction, or None if none is written.
    """
    told = direction_told(metric)
    better = "smaller" if told == "min" else "larger"
    if written is not None:
        if told in (None, written):
            return Judgement()
        return Judgement(
            warning=f"is {written}, but the name '{metric}' says that {better} is better"
        )
    if told == "min":
        return Judgement(
            refusal=f"the name '{metric}' says that smaller is better, but without 'direction' the "
            "largest would win; write direction: min (or direction: max, if that is meant)"
        )
    return Judgement() if told else Judgement(guess="taken as max; write it to be sure")


def direction_told(metric: str) -> Direction | None:
    """Return the direction that a metric's name tells, or None.

    The last word that tells anything decides: `f1_loss` is a loss.

    Args:
        metric: Words in snake_case, kebab-case or camelCase.
    """
    parts = [part.lower() for part in _PARTS.findall(metric)]
    told: Direction | None = None
    for word in _words(parts):
        if word in SMALLER or word in LARGER - _WEAK:
            told = "min" if word in SMALLER else "max"
    if told is None and _WEAK.intersection(parts):
        told = "max"
    first = next((part for part in parts if part not in _PREFIXES), "")
    if told and first in _NEGATIONS:
        return "max" if told == "min" else "min"
    return told


def _words(parts: list[str]) -> Iterator[str]:
    """Yield each part, also without the number at its end, and each with the next as one word."""
    for part, following in zip(parts, [*parts[1:], ""], strict=False):
        yield part
        yield part.rstrip("0123456789")
        yield part + following
