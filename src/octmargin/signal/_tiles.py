"""Tiles: a numba type of several values of lanes, sums that grow side by side in registers.

Each number that is loaded serves a whole row of a tile and each vector of weights a whole column of it, so that the
multiplications, not the loads, are what takes the time (Goto 2008, doi 10.1145/1356052.1356053). All sums of a tile
must find room in registers, with some for what is multiplied: `TILE_ROWS` and `TILE_GROUPS` are what was fastest.
The order in which a sum grows does not depend on its tile. Flat indices count elements and are not checked, for one of
numba's own may be negative and then counts from the end: to find out takes longer than the multiplication.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default

from octmargin.signal._lanes import (
    _FUSED,
    _VECTOR,
    LANES,
    _at,
    _loaded,
    _plus,
    _same_in_all,
    _stored,
    literal_intrinsic,
)
from octmargin.signal._target import compiled_features

# AVX-512 has 32 registers of sixteen float32. A value of lanes takes two of the 16 of AVX2, four of the 32 of NEON.
TILE_ROWS, TILE_GROUPS = (13, 2) if "avx512f" in compiled_features() else (5, 1)


class TileType(types.Type):
    """Numba's type of `rows` x `groups` values of lanes."""

    def __init__(self, rows: int, groups: int) -> None:
        self.rows, self.groups = rows, groups
        super().__init__(name=f"tile{rows}x{groups}")


@register_default(TileType)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, ir.ArrayType(_VECTOR, numba_type.rows * numba_type.groups))


@literal_intrinsic
def tile(_typing: Any, rows: Any, groups: Any, array: Any, index: Any) -> Any:
    """A tile of `rows` (a literal) times the `groups` (a literal) values of lanes of `array` from flat `index` on."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind, (_, _, array_, index_) = sig.return_type, args
        group = _groups_at(context, builder, sig.args[2], array_, index_, kind.groups)
        sums = ir.Constant(context.get_value_type(kind), ir.Undefined)
        for i in range(kind.rows * kind.groups):
            sums = builder.insert_value(sums, group[i % kind.groups], i)
        return sums

    kind = TileType(rows.literal_value, groups.literal_value)
    return kind(rows, groups, array, types.intp), lower


@literal_intrinsic
def with_products(
    _typing: Any, sums: Any, source: Any, at: Any, row_step: Any, weights: Any, first_weight: Any
) -> Any:
    """`sums`, and to each row the product of source[at + row * row_step] and the weights of its groups added."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind, (sums_, source_, at_, row_step_, weights_, first_) = sig.return_type, args
        group = _groups_at(context, builder, sig.args[4], weights_, first_, kind.groups)
        for row in range(kind.rows):
            number = builder.load(_at(context, builder, sig.args[1], source_, at_), align=4)
            for i in range(row * kind.groups, (row + 1) * kind.groups):
                product = builder.fmul(group[i % kind.groups], _same_in_all(builder, number), flags=_FUSED)
                total = builder.fadd(builder.extract_value(sums_, i), product, flags=_FUSED)
                sums_ = builder.insert_value(sums_, total, i)
            at_ = builder.add(at_, row_step_)
        return sums_

    return sums(sums, source, types.intp, types.intp, weights, types.intp), lower


@literal_intrinsic
def rectified_tile(_typing: Any, sums: Any) -> Any:
    """`sums` with 0 in place of what is below it; a NaN is not below anything."""

    def lower(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (sums_,) = args
        zeros = ir.Constant(_VECTOR, [0.0] * LANES)
        for i in range(sig.return_type.rows * sig.return_type.groups):
            value = builder.extract_value(sums_, i)
            sums_ = builder.insert_value(
                sums_, builder.select(builder.fcmp_ordered("<", value, zeros), zeros, value), i
            )
        return sums_

    return sums(sums), lower


@literal_intrinsic
def store_tile(_typing: Any, array: Any, index: Any, row_step: Any, sums: Any) -> Any:
    """Write the rows of `sums` to `array` from flat `index` on, each `row_step` after the one before."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array_, index_, row_step_, sums_ = args
        groups = sig.args[3].groups
        for row in range(sig.args[3].rows):
            for group in range(groups):
                value = builder.extract_value(sums_, row * groups + group)
                _stored(context, builder, sig.args[0], array_, _plus(builder, index_, LANES * group), value)
            index_ = builder.add(index_, row_step_)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, sums), lower


def _groups_at(context: Any, builder: Any, array_type: Any, array: Any, index: Any, groups: int) -> list[Any]:
    return [
        _loaded(context, builder, array_type, array, _plus(builder, index, LANES * group))
        for group in range(groups)
    ]
