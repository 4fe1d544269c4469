"""Which of 64 neighbouring products exceed a limit, as the bits of one number, for compiled loops.

The compiler does not find this form by itself: written as a loop, looking for the few values that fire costs
ten times as much. LLVM's vectors are of any length and become whatever vector instructions the machine has.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

RUN = 64
"""Products looked at together."""

_INTS = ir.VectorType(ir.IntType(32), RUN)
_FLOATS = ir.VectorType(ir.FloatType(), RUN)


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def run_mask(_context: Any, bits: Any, at: Any, bias: Any, limit: Any) -> Any:  # noqa: ARG001
    """Bit i says whether product + bias exceeds the limit at ``at + i``; nothing else is written or checked.

    Args:
        bits: uint32 (float32) or uint16 (bfloat16, the upper half of a float32) array, contiguous.
        at: first of ``RUN`` places, all inside.
        bias: float32 array, contiguous.
        limit: float32 array, or one float32 for all.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def load(number: int) -> Any:
            kind = signature.args[number]
            data = context.make_array(kind)(context, builder, args[number]).data
            items = ir.VectorType(context.get_data_type(kind.dtype), RUN)
            place = builder.bitcast(builder.gep(data, [args[1]]), items.as_pointer())
            return builder.load(place, align=kind.dtype.bitwidth // 8)

        raw = load(0)
        if signature.args[0].dtype.bitwidth == 16:
            raw = builder.shl(builder.zext(raw, _INTS), ir.Constant(_INTS, [16] * RUN))
        value = builder.fadd(builder.bitcast(raw, _FLOATS), load(2))
        if isinstance(signature.args[3], types.Array):
            bound = load(3)
        else:
            nothing = ir.Constant(_FLOATS, ir.Undefined)
            first = builder.insert_element(nothing, args[3], ir.Constant(ir.IntType(32), 0))
            bound = builder.shuffle_vector(first, first, ir.Constant(_INTS, [0] * RUN))
        return builder.bitcast(builder.fcmp_ordered(">", value, bound), ir.IntType(RUN))

    return types.uint64(bits, types.int64, bias, limit), codegen


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(_context: Any, mask: Any) -> Any:  # noqa: ARG001
    """Number of the lowest bit that is set; the mask must not be 0."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen
