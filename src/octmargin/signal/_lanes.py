"""Sixteen A-lines side by side: a numba type whose values are sixteen float32 in vector registers.

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

intrinsic: Any = typed_intrinsic
"""Called from a kernel, an intrinsic takes one argument fewer than its definition says."""


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


def _at(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _vector_at(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    element = context.get_data_type(array_type.dtype)
    pointer = _at(context, builder, array_type, array, index)
    return builder.bitcast(pointer, ir.VectorType(element, LANES).as_pointer())


def _offset(builder: Any, start: Any, count: int, step: Any) -> Any:
    return builder.add(start, builder.mul(step, ir.Constant(start.type, count)))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Sixteen vectors to their transpose, in four rounds that swap ever smaller squares."""
    step = LANES // 2
    while step:
        upper = [i if not i & step else i - step + LANES for i in range(LANES)]
        lower = [i + step if not i & step else i + LANES for i in range(LANES)]
        swapped = list(rows)
        for i in range(LANES):
            if not i & step:
                pair = rows[i], rows[i + step]
                swapped[i] = builder.shuffle_vector(*pair, ir.Constant(_BITS, upper))
                swapped[i + step] = builder.shuffle_vector(*pair, ir.Constant(_BITS, lower))
        rows = swapped
        step //= 2
    return rows


@intrinsic
def load(_typing: Any, array: Any, index: Any) -> Any:
    """Sixteen float32 of `array` from flat `index` on."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_vector_at(context, builder, sig.args[0], args[0], args[1]), align=4)

    return lanes(array, types.intp), lower


@intrinsic
def store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write sixteen float32 to `array` from flat `index` on."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _vector_at(context, builder, sig.args[0], args[0], args[1]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), lower


@intrinsic
def load_square(
    _typing: Any, raw: Any, first: Any, row_step: Any, last_row: Any, background: Any, column: Any, out: Any
) -> Any:
    """Transpose 16 x 16 values of `raw` (any dtype) into `out`, less the background.

    Row l begins at raw[first + min(l, last_row) * row_step]; its value of column c, less background[column + c],
    goes to out[(column + c) * 16 + l].
    """

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        raw_type, background_type, out_type = sig.args[0], sig.args[4], sig.args[6]
        raw_, first_, row_step_, last_row_, background_, column_, out_ = args
        rows = []
        for i in range(LANES):
            wanted = ir.Constant(first_.type, i)
            row = builder.select(builder.icmp_signed("<", wanted, last_row_), wanted, last_row_)
            start = builder.add(first_, builder.mul(row, row_step_))
            pointer = _vector_at(context, builder, raw_type, raw_, start)
            rows.append(builder.load(pointer, align=raw_type.dtype.bitwidth // 8))
        for i, values in enumerate(_transposed(builder, rows)):
            counts = values if raw_type.dtype == types.float32 else builder.uitofp(values, _VECTOR)
            index = builder.add(column_, ir.Constant(column_.type, i))
            dark = builder.load(_at(context, builder, background_type, background_, index))
            signal = builder.fsub(counts, _same_in_all(builder, dark))
            target = builder.mul(index, ir.Constant(index.type, LANES))
            builder.store(signal, _vector_at(context, builder, out_type, out_, target), align=4)
        return context.get_dummy_value()

    sig = types.void(raw, types.intp, types.intp, types.intp, background, types.intp, out)
    return sig, lower


@intrinsic
def store_square(_typing: Any, source: Any, start: Any, tile: Any) -> Any:
    """Transpose sixteen values of lanes, `source` from `start` on, into the 256 float32 of `tile`."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        step = ir.Constant(args[1].type, LANES)
        rows = []
        for i in range(LANES):
            pointer = _vector_at(context, builder, sig.args[0], args[0], _offset(builder, args[1], i, step))
            rows.append(builder.load(pointer, align=4))
        for i, row in enumerate(_transposed(builder, rows)):
            index = ir.Constant(args[1].type, i * LANES)
            builder.store(row, _vector_at(context, builder, sig.args[2], args[2], index), align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, tile), lower


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
