"""Small matrices turned over in vector registers: from the channels of a pixel side by side to its planes, and back.

A compiler turns loops over both directions into one load and one store for each number. Here T vectors of T numbers
are loaded, exchange their halves, quarters ... (log2 T times), and are stored.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: Codes of the dtypes of logits.
FLOAT32, BFLOAT16, FLOAT16 = 0, 1, 2
BYTES = {FLOAT32: 4, BFLOAT16: 2, FLOAT16: 2}


def load_floats(builder, address, kind: int, count: int):
    """`count` numbers of a dtype at an address, as a vector of float32."""
    bits = ir.VectorType(ir.IntType(8 * BYTES[kind]), count)
    given = builder.load(builder.inttoptr(address, bits.as_pointer()), align=BYTES[kind])
    return to_float32(builder, given, kind)


def to_float32(builder, bits, kind: int):
    """The float32 of the bits of numbers of a dtype; of one or of a vector."""
    if kind == FLOAT32:
        return builder.bitcast(bits, shaped(ir.FloatType(), bits))
    if kind == FLOAT16:
        return builder.fpext(builder.bitcast(bits, shaped(ir.HalfType(), bits)), shaped(ir.FloatType(), bits))
    wide = builder.zext(bits, shaped(ir.IntType(32), bits))
    return builder.bitcast(builder.shl(wide, constant(16, wide)), shaped(ir.FloatType(), bits))


def to_bits(builder, x, kind: int):
    """The bits of float32 rounded to a dtype, to the nearest and of two to the even one; of one or of a vector."""
    if kind == FLOAT32:
        return builder.bitcast(x, shaped(ir.IntType(32), x))
    if kind == FLOAT16:
        return builder.bitcast(builder.fptrunc(x, shaped(ir.HalfType(), x)), shaped(ir.IntType(16), x))
    bits = builder.bitcast(x, shaped(ir.IntType(32), x))
    odd = builder.and_(builder.lshr(bits, constant(16, bits)), constant(1, bits))
    half = builder.add(odd, constant(0x7FFF, bits))
    rounded = builder.lshr(builder.add(bits, half), constant(16, bits))
    is_nan = builder.fcmp_unordered("uno", x, x)
    return builder.trunc(builder.select(is_nan, constant(0x7FC0, bits), rounded), shaped(ir.IntType(16), x))


def shaped(element, like):
    """The type `element`, or a vector of as many as the value `like` has."""
    return ir.VectorType(element, like.type.count) if isinstance(like.type, ir.VectorType) else element


def constant(value: int, like):
    """An integer of the type of the value `like`, in every place of a vector."""
    if isinstance(like.type, ir.VectorType):
        return ir.Constant(like.type, [value] * like.type.count)
    return ir.Constant(like.type, value)


@cache
def make_turn(size: int, from_kind: int, to_kind: int):
    """A function (address, step, to address, to step), in bytes, for a matrix of `size` rows and columns: its rows
    become columns."""

    @intrinsic
    def turn(typing_context, source, step, result, result_step):
        def generate(context, builder, signature, arguments):
            source, step, result, result_step = arguments
            rows = [
                load_floats(builder, _move(builder, source, step, i), from_kind, size) for i in range(size)
            ]
            for i, row in enumerate(_exchange(builder, rows)):
                bits = to_bits(builder, row, to_kind)
                address = builder.inttoptr(_move(builder, result, result_step, i), bits.type.as_pointer())
                builder.store(bits, address, align=BYTES[to_kind])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, types.int64), generate

    return turn


def _move(builder, address, step, times: int):
    return builder.add(address, builder.mul(step, ir.Constant(ir.IntType(64), times)))


def _exchange(builder, rows: list) -> list:
    """The columns of a matrix whose rows are vectors."""
    size = len(rows)
    half = size // 2
    while half:
        rows = _exchange_parts(builder, rows, half)
        half //= 2
    return rows


def _exchange_parts(builder, rows: list, half: int) -> list:
    size, result = len(rows), list(rows)
    for i in range(size):
        if i & half:
            continue
        # Of two rows `half` apart: the parts where the bit `half` of the column is 0, then those where it is 1.
        first = [c if not c & half else size + (c ^ half) for c in range(size)]
        second = [c ^ half if not c & half else size + c for c in range(size)]
        for j, places in ((i, first), (i + half, second)):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), size), places)
            result[j] = builder.shuffle_vector(rows[i], rows[i + half], mask)
    return result


@cache
def make_reader(kind: int):
    """A function (bits) -> float32 of one number of a dtype, and another (float32) -> bits of the nearest."""
    bits_type = {FLOAT32: types.float32, BFLOAT16: types.uint16, FLOAT16: types.uint16}[kind]

    @intrinsic
    def from_bits(typing_context, bits):
        def generate(context, builder, signature, arguments):
            return arguments[0] if kind == FLOAT32 else to_float32(builder, arguments[0], kind)

        return types.float32(bits_type), generate

    @intrinsic
    def to_bits_of(typing_context, x):
        def generate(context, builder, signature, arguments):
            return arguments[0] if kind == FLOAT32 else to_bits(builder, arguments[0], kind)

        return bits_type(types.float32), generate

    return from_bits, to_bits_of
