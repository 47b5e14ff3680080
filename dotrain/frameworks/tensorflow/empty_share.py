"""A replica's share of no rows, which the last batch may leave: oneDNN ends the process on it.

That is TensorFlow's fast path on CPUs, and its convolutions' gradients. Such a share goes through
the model as a row of zeros, and comes out as no rows again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dotrain.frameworks.tensorflow.step import Step, has_rows, with_rows

_NO_ROWS = (
    "a batch has fewer rows than there are workers, and on none of them TensorFlow's convolutions "
    "end the process (oneDNN): choose another batch size, drop_remainder=True, or set "
    "TF_ENABLE_ONEDNN_OPTS=0, which is slower"
)


def filled(call: Callable[..., Any], step: Step) -> Callable[..., Any]:
    """Return a model's ``call`` that turns a share of no rows into one of zeros, and back."""
    import tensorflow as tf

    def filling(*args: Any, **kwargs: Any) -> Any:
        parts = with_rows((args, kwargs))
        # An outer model has done it, this is no step, or there always are rows.
        if step.filled is not None or step.rows is None or not parts or parts[0].shape[0]:
            return call(*args, **kwargs)
        if not all(isinstance(part, tf.Tensor) and part.shape.rank for part in parts):
            return call(*args, **kwargs)
        empty = tf.equal(tf.shape(parts[0])[0], 0)
        args, kwargs = tf.nest.map_structure(
            lambda part: _fill(part, empty) if has_rows(part) else part, (args, kwargs)
        )
        step.filled = empty
        try:
            outputs = call(*args, **kwargs)
        finally:
            step.filled = None
        return tf.nest.map_structure(lambda output: _cut(output, empty), outputs)

    return filling


def without_rows(gradients: list[Any], empty: Any) -> list[Any]:
    """Return no gradients from no rows, whatever they are at zero: 0 times infinity is no 0."""
    import tensorflow as tf

    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    kept = tf.cond(empty, lambda: [tf.zeros_like(v) for v in values], lambda: values)
    result = []
    for gradient, value, known in zip(gradients, values, kept, strict=True):
        known.set_shape(value.shape)
        if isinstance(gradient, tf.IndexedSlices):
            known = tf.IndexedSlices(known, gradient.indices, gradient.dense_shape)
        result.append(known)
    return result


def refusing_no_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step of a loop of the user's own that ends on a share of no rows, and says why."""
    import tensorflow as tf

    def refusing(*args: Any, **kwargs: Any) -> Any:
        parts = with_rows((args, kwargs))
        checks = [tf.debugging.assert_positive(tf.shape(parts[0])[0], _NO_ROWS)] if parts else []
        with tf.control_dependencies([check for check in checks if check is not None]):
            return function(*args, **kwargs)

    return refusing


def _fill(part: Any, empty: Any) -> Any:
    import tensorflow as tf

    def zeros() -> Any:
        return tf.zeros(tf.concat([[1], tf.shape(part)[1:]], 0), part.dtype)

    # Only one branch is run: where there are rows, nothing is copied.
    filled = tf.cond(empty, zeros, lambda: part)
    filled.set_shape([None, *part.shape[1:]])
    return _masked_like(part, filled, lambda mask: _fill(mask, empty))


def _cut(output: Any, empty: Any) -> Any:
    import tensorflow as tf

    if not isinstance(output, tf.Tensor) or not has_rows(output):
        return output
    cut = tf.cond(empty, lambda: output[:0], lambda: output)
    cut.set_shape([None, *output.shape[1:]])
    return _masked_like(output, cut, lambda mask: _cut(mask, empty))


def _masked_like(before: Any, after: Any, change: Callable[[Any], Any]) -> Any:
    """Hand the mask that Keras keeps on a tensor to the one that takes its place."""
    mask = getattr(before, "_keras_mask", None)
    if mask is not None:
        after._keras_mask = change(mask)
    return after
