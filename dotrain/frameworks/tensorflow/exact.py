"""What makes a Keras training step on R replicas compute what one process would.

Left alone, Keras 3 averages the replicas' own means, whatever their share of the batch; clips each
replica's gradient before they are summed; normalizes each replica's rows by themselves; and lets
all replicas drop the same units. Here, while a step is traced, and not a moment longer:

- the loss of replica i is summed over its n_i rows, and the sum of the gradients divided by the
  batch's n rows, which is the gradient of the batch's mean;
- gradients are summed before anything else is done with them (clipping, accumulation, the search
  for overflows of a loss scale), which is then the same on all replicas;
- batch normalization takes its moments from the whole batch;
- a share of no rows goes through the model as one row of zeros that counts nowhere;
- replicas draw from different streams of random numbers.

Nothing is left behind on the user's model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CellType
from typing import Any

from dotrain.frameworks.tensorflow.empty_share import filled, without_rows
from dotrain.frameworks.tensorflow.step import Step
from dotrain.training.errors import BadSetup

#: Added to a seed once per replica; any odd number that spreads them will do.
_STREAM = 0x2545F491


def trainer_behind(function: Callable[..., Any]) -> Any:
    """Return the Keras model whose step a function is, or None."""
    import keras

    seen: Any = function
    while seen is not None:
        # The step is a method of the model's, or a nested function of one.
        cells = getattr(seen, "__closure__", None) or ()
        for owner in (getattr(seen, "__self__", None), *map(_content, cells)):
            if isinstance(owner, keras.Model):
                return owner
        seen = getattr(seen, "python_function", None) or getattr(seen, "__wrapped__", None)
    return None


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


@contextmanager
def as_one_process(model: Any, *, exact: bool) -> Iterator[Step]:
    """Let the steps of a compiled model, traced inside, compute what one process would.

    Args:
        model: A Keras model.
        exact: Whether to; else only what can't work is refused.

    Yields:
        The step, whose `Step.of` a step's function must go through.

    Raises:
        BadSetup: If it is compiled with something that can't be done on several replicas.
    """
    _refuse(model)
    step = Step()
    with ExitStack() as overrides:
        if exact:
            for target, name, value in _overrides(model, step):
                overrides.enter_context(_overridden(target, name, value))
        yield step


def _refuse(model: Any) -> None:
    import tensorflow as tf

    if getattr(model, "steps_per_execution", 1) != 1:
        raise BadSetup(
            "model.compile(steps_per_execution=...) doesn't work on several workers: "
            "Keras' loop of steps would hang there; leave it out"
        )
    if getattr(model, "jit_compile", False) is True and not tf.config.list_physical_devices("GPU"):
        raise BadSetup(
            "model.compile(jit_compile=True) doesn't work on several workers without GPUs: "
            "XLA has no collective operations for CPUs; leave it out"
        )


def _overrides(model: Any, step: Step) -> Iterator[tuple[Any, str, Any]]:
    import keras

    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        yield from _optimizer_overrides(optimizer, step, weighted=_takes_means(model))
    # XLA, which is for GPUs here, has no use for oneDNN and no shapes that depend on values.
    fills = getattr(model, "jit_compile", False) is not True
    for layer in model._flatten_layers():
        if fills and isinstance(layer, keras.Model):
            yield layer, "call", filled(layer.call, step)
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer, "_moments", _moments_of_all(layer, step)
        for generator in getattr(layer, "_seed_generators", ()):
            yield generator, "next", _own_stream(generator.next)


def _takes_means(model: Any) -> bool:
    """Whether the model's losses are means over rows, which need weights, or all sums."""
    import keras

    losses = [loss for loss in keras.tree.flatten(getattr(model, "loss", None)) if loss is not None]
    kinds = {getattr(loss, "reduction", "sum_over_batch_size") for loss in losses}
    if kinds == {"sum"}:
        return False
    if unknown := kinds - {"sum_over_batch_size", "mean"}:
        raise BadSetup(
            f"a loss with reduction {', '.join(sorted(map(repr, unknown)))} can't be summed over "
            "several workers as one process would; use 'sum_over_batch_size', or set "
            "distribution.exact: false"
        )
    return True


def _optimizer_overrides(
    optimizer: Any, step: Step, *, weighted: bool
) -> Iterator[tuple[Any, str, Any]]:
    import tensorflow as tf

    inner = getattr(optimizer, "inner_optimizer", optimizer)
    scale_loss, apply = optimizer.scale_loss, optimizer.apply

    def weigh(loss: Any) -> Any:
        loss = scale_loss(loss)
        if not weighted or step.rows is None:
            return loss
        return step.weigh(loss, tf.distribute.get_strategy().num_replicas_in_sync)

    def reduce_first(grads: Any, trainable_variables: Any = None) -> Any:
        present = [gradient for gradient in grads if gradient is not None]
        replica = tf.distribute.get_replica_context()
        # The number of rows travels with the gradients, not in a message of its own.
        counts = [step.rows] if step.is_weighted else []
        if counts:
            present = without_rows(present, tf.equal(step.rows, 0.0))
        summed = replica.all_reduce(tf.distribute.ReduceOp.SUM, [*present, *counts])
        if counts:
            share = tf.math.reciprocal_no_nan(summed.pop())
            summed = [tf.math.scalar_mul(tf.cast(share, g.dtype), g) for g in summed]
        left = iter(summed)
        reduced = [None if gradient is None else next(left) for gradient in grads]
        return apply(reduced, trainable_variables)

    yield optimizer, "scale_loss", weigh
    yield optimizer, "apply", reduce_first
    yield inner, "_all_reduce_sum_gradients", lambda pairs: pairs
    conditions = ("gradient_accumulation_steps", "ema_overwrite_frequency")
    if any(getattr(inner, name, None) for name in conditions):
        # These updates stand in a condition, where replicas can't be merged; nor need they be,
        # since they all hold the same gradient.
        extended = inner._distribution_strategy.extended
        yield extended, "_use_merge_call", lambda: False


def _moments_of_all(layer: Any, step: Step) -> Callable[..., Any]:
    """Return a batch normalization's ``_moments`` over the rows of all replicas.

    In two passes, as on one process: Keras' own ``synchronized`` takes the difference of two large
    numbers, waits three times, and leaves masks out.
    """
    import tensorflow as tf

    alone = layer._moments

    def moments(inputs: Any, mask: Any) -> Any:
        replica = tf.distribute.get_replica_context()
        if replica is None or step.rows is None:
            return alone(inputs, mask)
        axes, channels = layer._reduction_axes, inputs.shape[layer.axis]
        is_real = tf.ones([], inputs.dtype)
        if step.filled is not None:
            is_real -= tf.cast(step.filled, inputs.dtype)
        if mask is None:
            weights = is_real
            count = tf.fill(
                [channels], is_real * tf.cast(tf.size(inputs) // channels, inputs.dtype)
            )
        else:
            all_of_them = tf.broadcast_to(mask[..., None], tf.shape(inputs))
            weights = is_real * tf.cast(all_of_them, inputs.dtype)
            count = tf.reduce_sum(weights, axes)

        def over_all(*sums: Any) -> list[Any]:
            packed = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack(sums))
            return list(tf.unstack(packed, len(sums)))

        total, count = over_all(tf.reduce_sum(weights * inputs, axes), count)
        mean = tf.math.divide_no_nan(total, count)
        shape = [1] * inputs.shape.rank
        shape[layer.axis] = channels
        distances = tf.math.squared_difference(inputs, tf.reshape(mean, shape))
        (squares,) = over_all(tf.reduce_sum(weights * distances, axes))
        return mean, tf.math.divide_no_nan(squares, count)

    return moments


def _own_stream(draw: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def shifted(*args: Any, **kwargs: Any) -> Any:
        seed = draw(*args, **kwargs)
        replica = tf.distribute.get_replica_context()
        if replica is None:
            return seed
        shift = tf.cast(replica.replica_id_in_sync_group, tf.int64) * _STREAM
        return seed + tf.cast(tf.stack([shift % 2**31, 0]), seed.dtype)

    return shifted


@contextmanager
def _overridden(target: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of an instance, and put it back as it was."""
    attributes = vars(target)
    own = name in attributes
    before = attributes.get(name)
    # Past the tracking of attributes, which Keras and TensorFlow do for saving.
    attributes[name] = value
    try:
        yield
    finally:
        if own:
            attributes[name] = before
        else:
            del attributes[name]
