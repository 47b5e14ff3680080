"""Arrow arrays whose bytes follow from their values: however they were cut, and whatever lay beneath what is missing."""

from __future__ import annotations

from typing import Any


def canonical(array: Any) -> Any:
    """Return an array of the same values and the same type, of which equal ones have equal bytes.

    All begins at 0, and beneath what is missing are zeros, or nothing. Maps, unions and what is in dictionaries are only
    copied, and what Arrow can't copy (views) stays as it is.

    Args:
        array: Of Arrow.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import types

    kind, size = array.type, len(array)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, canonical(array.storage))
    present = np.asarray(array.is_valid())
    valid = _bits(present) if array.null_count else None
    if types.is_boolean(kind):
        bits = _bits(np.asarray(array.fill_null(False)))
        return pa.Array.from_buffers(kind, size, [valid, bits])
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        values = _values(array)
        values[~present] = 0
        return pa.Array.from_buffers(kind, size, [valid, pa.py_buffer(values)])
    if types.is_string(kind) or types.is_binary(kind):
        filled = _copied(array.fill_null(pa.scalar("" if types.is_string(kind) else b"", kind)))
        return pa.Array.from_buffers(kind, size, [valid, *filled.buffers()[1:]])
    if types.is_struct(kind):
        children = [canonical(part) for part in array.flatten()]
        return pa.Array.from_buffers(kind, size, [valid], children=children)
    if types.is_list(kind) or types.is_large_list(kind):
        lengths = np.asarray(array.value_lengths().fill_null(0))
        wide = np.int64 if types.is_large_list(kind) else np.int32
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(wide)
        buffers = [valid, pa.py_buffer(offsets)]
        return pa.Array.from_buffers(kind, size, buffers, children=[canonical(array.flatten())])
    if types.is_fixed_size_list(kind):
        width = kind.list_size
        places = np.arange(array.offset * width, (array.offset + size) * width)
        places = pa.array(places, mask=np.repeat(~present, width))
        children = [canonical(array.values.take(places))]
        return pa.Array.from_buffers(kind, size, [valid], children=children)
    return _copied(array)


def _bits(flags: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _values(array: Any) -> Any:
    """Return the bytes of values that take equally many, as a matrix with a row for each."""
    import numpy as np

    width = array.type.bit_width // 8
    begin, end = array.offset * width, (array.offset + len(array)) * width
    return np.frombuffer(array.buffers()[1] or b"", np.uint8)[begin:end].reshape(-1, width).copy()


def _copied(array: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    try:
        return array.take(pa.array(np.arange(len(array))))
    except pa.ArrowNotImplementedError:
        # Arrow can't copy views row by row: as they are, equal rows may have another digest, and a run whose kept
        # table was deleted is then refused instead of going on.
        return array
