"""Sixteen A-lines, or depths, side by side: a numba type whose values are sixteen float32 in vector registers.

Left to itself the compiler vectorises a loop over A-lines only when it can prove that no store touches what is
still to be loaded, which in an FFT it mostly cannot. A value that *is* a vector leaves nothing to prove: every
operation below is one instruction on AVX-512, two on AVX2, four on SSE. No fast-math licence beyond the fusing of
multiply and add is given, so a NaN or an infinity stays in its lane and the other fifteen are exact.

In memory sixteen neighbouring float32 make one value; `load` and `store` take a flat index in elements and check
nothing.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic as typed_intrinsic
from numba.extending import lower_builtin

LANES = 16
COLUMNS = 32
"""Columns that `load_columns` takes: a cache line of 16-bit counts."""

intrinsic: Any = typed_intrinsic
"""Called from a kernel, an intrinsic takes one argument fewer than its definition says."""
literal_intrinsic: Any = typed_intrinsic(prefer_literal=True)
"""The same, and a number that is written out in the kernel arrives as such."""


class LanesType(types.Type):
    """Numba's type of sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


lanes = LanesType()
_INT32 = ir.IntType(32)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_BITS = ir.VectorType(_INT32, LANES)
_FUSED = ("contract",)


@register_default(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _VECTOR)


def _same_in_all(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, _INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_BITS, [0] * LANES))


def _bits(value: int) -> Any:
    return ir.Constant(_BITS, [value] * LANES)


def _add_operator(symbol: Any, instruction: str) -> None:
    """Let numba write `a symbol b` where at least one of both is a value of lanes."""

    class Template(ConcreteTemplate):
        cases = [  # noqa: RUF012 - numba's own way to list signatures
            signature(lanes, lanes, lanes),
            signature(lanes, lanes, types.float32),
            signature(lanes, types.float32, lanes),
        ]

    infer_global(symbol)(Template)

    def lower(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        operands = (
            value if kind == lanes else _same_in_all(builder, value)
            for kind, value in zip(sig.args, args, strict=True)
        )
        return getattr(builder, instruction)(*operands, flags=_FUSED)

    for left, right in ((lanes, lanes), (lanes, types.float32), (types.float32, lanes)):
        lower_builtin(symbol, left, right)(lower)


_add_operator(operator.add, "fadd")
_add_operator(operator.sub, "fsub")
_add_operator(operator.mul, "fmul")
_add_operator(operator.truediv, "fdiv")


def _at(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _plus(builder: Any, index: Any, number: int) -> Any:
    return builder.add(index, ir.Constant(index.type, number))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose sixteen vectors, each block of sixteen elements apart, in four rounds of ever smaller squares."""
    width = rows[0].type.count
    step = LANES // 2
    while step:
        upper = [i if not i & step else i - step + width for i in range(width)]
        lower = [i + step if not i & step else i + width for i in range(width)]
        swapped = list(rows)
        for i in range(LANES):
            if not i & step:
                pair = rows[i], rows[i + step]
                swapped[i] = builder.shuffle_vector(*pair, _indices(upper))
                swapped[i + step] = builder.shuffle_vector(*pair, _indices(lower))
        rows = swapped
        step //= 2
    return rows


def _indices(values: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INT32, len(values)), values)


def _block(builder: Any, vector: Any, number: int) -> Any:
    first = LANES * number
    return builder.shuffle_vector(vector, vector, _indices(list(range(first, first + LANES))))


def _loaded(context: Any, builder: Any, array_type: Any, array: Any, index: Any, width: int = LANES) -> Any:
    """`width` elements of any type from flat `index` on, aligned as an element is."""
    element = context.get_data_type(array_type.dtype)
    pointer = _at(context, builder, array_type, array, index)
    vector = builder.bitcast(pointer, ir.VectorType(element, width).as_pointer())
    return builder.load(vector, align=array_type.dtype.bitwidth // 8)


def _stored(context: Any, builder: Any, array_type: Any, array: Any, index: Any, value: Any) -> None:
    pointer = _at(context, builder, array_type, array, index)
    builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


@intrinsic
def load(_typing: Any, array: Any, index: Any) -> Any:
    """Sixteen float32 of `array` from flat `index` on."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _loaded(context, builder, sig.args[0], *args)

    return lanes(array, types.intp), lower


@intrinsic
def store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write sixteen float32 to `array` from flat `index` on."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _stored(context, builder, sig.args[0], *args)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), lower


@intrinsic
def load_columns(
    _typing: Any, raw: Any, first: Any, row_step: Any, last_row: Any, background: Any, column: Any, out: Any
) -> Any:
    """Transpose COLUMNS columns of sixteen rows of `raw` (any dtype) into `out`, less the background.

    Row l begins at raw[first + min(l, last_row) * row_step]; its value of column c, less background[column + c],
    goes to out[(column + c) * 16 + l]. So many columns, because a cache line of one row is gone before the next
    call: rows of a power of two fall on the same few sets of the first-level cache.
    """

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        raw_type, background_type, out_type = sig.args[0], sig.args[4], sig.args[6]
        raw_, first_, row_step_, last_row_, background_, column_, out_ = args
        at_once = LANES if raw_type.dtype == types.float32 else COLUMNS
        starts = []
        for i in range(LANES):
            wanted = ir.Constant(first_.type, i)
            row = builder.select(builder.icmp_signed("<", wanted, last_row_), wanted, last_row_)
            starts.append(builder.add(first_, builder.mul(row, row_step_)))
        for part in range(0, COLUMNS, at_once):
            rows = [
                _loaded(context, builder, raw_type, raw_, _plus(builder, start, part), at_once)
                for start in starts
            ]
            for i, values in enumerate(_transposed(builder, rows)):
                for block in range(at_once // LANES):
                    counts = _block(builder, values, block)
                    if raw_type.dtype != types.float32:
                        counts = builder.uitofp(counts, _VECTOR)
                    index = _plus(builder, column_, part + LANES * block + i)
                    dark = builder.load(_at(context, builder, background_type, background_, index))
                    signal = builder.fsub(counts, _same_in_all(builder, dark))
                    target = builder.mul(index, ir.Constant(index.type, LANES))
                    _stored(context, builder, out_type, out_, target, signal)
        return context.get_dummy_value()

    sig = types.void(raw, types.intp, types.intp, types.intp, background, types.intp, out)
    return sig, lower


@intrinsic
def store_square(_typing: Any, source: Any, start: Any, out: Any, first: Any, row_step: Any) -> Any:
    """Transpose sixteen values of lanes, `source` from `start` on, into rows of `out` at first + l * row_step."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source_, start_, out_, first_, row_step_ = args
        rows = [
            _loaded(context, builder, sig.args[0], source_, _plus(builder, start_, LANES * i))
            for i in range(LANES)
        ]
        for i, row in enumerate(_transposed(builder, rows)):
            step = builder.mul(row_step_, ir.Constant(row_step_.type, i))
            _stored(context, builder, sig.args[2], out_, builder.add(first_, step), row)
        return context.get_dummy_value()

    return types.void(source, types.intp, out, types.intp, types.intp), lower


@intrinsic
def octave(_typing: Any, value: Any) -> Any:
    """floor(log2(value)) of normal numbers above 0."""

    def lower(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        exponent = builder.lshr(builder.bitcast(args[0], _BITS), _bits(23))
        return builder.sitofp(builder.sub(exponent, _bits(127)), _VECTOR)

    return lanes(lanes), lower


@intrinsic
def within_octave(_typing: Any, value: Any) -> Any:
    """The share of `value` within its octave, value / 2^octave(value), in [1, 2), of normal numbers above 0."""

    def lower(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        mantissa = builder.and_(builder.bitcast(args[0], _BITS), _bits(0x007FFFFF))
        return builder.bitcast(builder.or_(mantissa, _bits(0x3F800000)), _VECTOR)

    return lanes(lanes), lower


@intrinsic
def where_below(_typing: Any, value: Any, limit: Any, then: Any, otherwise: Any) -> Any:
    """`then` in the lanes where `value` < `limit`, else `otherwise`; a NaN is not below anything."""

    def lower(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        below = builder.fcmp_ordered("<", args[0], _same_in_all(builder, args[1]))
        return builder.select(below, _same_in_all(builder, args[2]), args[3])

    return lanes(lanes, types.float32, types.float32, lanes), lower


@intrinsic
def where_above(_typing: Any, value: Any, limit: Any, then: Any, otherwise: Any) -> Any:
    """`then` in the lanes where `value` > `limit`, else `otherwise`; a NaN is not above anything."""

    def lower(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return lanes(lanes, lanes, lanes, lanes), lower


@intrinsic
def last_above(_typing: Any, value: Any, limit: Any) -> Any:
    """Number of the last lane in which `value` > `limit`, -1 without one; a NaN is not above anything."""

    def lower(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        above = builder.fcmp_ordered(">", args[0], args[1])
        mask = builder.zext(builder.bitcast(above, ir.IntType(LANES)), _INT32)
        zeros = builder.ctlz(mask, ir.Constant(ir.IntType(1), 0))
        return builder.sext(builder.sub(_INT32(31), zeros), ir.IntType(sig.return_type.bitwidth))

    return types.intp(lanes, lanes), lower


@intrinsic
def in_all(_typing: Any, scalar: Any) -> Any:
    """One float32 in every lane."""

    def lower(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return _same_in_all(builder, args[0])

    return lanes(types.float32), lower


@intrinsic
def first_in_all(_typing: Any, value: Any) -> Any:
    """The first lane of `value` in every lane."""

    def lower(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.shuffle_vector(args[0], args[0], _indices([0] * LANES))

    return lanes(lanes), lower


@intrinsic
def last_in_all(_typing: Any, value: Any) -> Any:
    """The last lane of `value` in every lane."""

    def lower(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.shuffle_vector(args[0], args[0], _indices([LANES - 1] * LANES))

    return lanes(lanes), lower


@literal_intrinsic
def moved_down(_typing: Any, value: Any, after: Any, step: Any) -> Any:
    """`value` without its first `step` lanes (a literal), filled up with the first lanes of `after`."""

    def lower(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = sig.args[2].literal_value
        return builder.shuffle_vector(args[0], args[1], _indices(list(range(first, first + LANES))))

    return lanes(lanes, lanes, step), lower
