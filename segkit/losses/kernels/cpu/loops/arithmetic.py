"""What the compiled kernels compute with: exp and log that become vector instructions, raw memory, a counter.

numba leaves `np.exp` to the C library, one number at a time. These are Cephes' polynomials in fp32 (Moshier, public
domain), right to about 1e-7, without a branch and without a table. NaN stays NaN.
"""

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

#: Products and sums may be fused; nothing may be reordered, and NaN and infinity are numbers like others.
FLAGS = {"fastmath": {"contract"}, "error_model": "numpy"}

#: The same for sums, which may be added up in as many parts as a vector has: always in the same ones.
REORDERED = {"fastmath": {"contract", "reassoc"}, "error_model": "numpy"}

#: exp of it is 2^-92, far below the rounding of every sum it is in. Less would soon be a denormal number, once
#: multiplied with a gradient, and arithmetic with those is many times slower.
LOWEST = np.float32(-63.7)

#: In fp32, unlike those that are written as they are: what they meet would become fp64.
ZERO, ONE, INFINITE = np.float32(0), np.float32(1), np.float32(np.inf)

_MAGIC = np.float32(1.5 * 2**23)  # adding it rounds to an integer, which is then in the low bits
_LOG2_E, _LN2_HIGH, _LN2_LOW = (np.float32(x) for x in (1.44269504088896341, 0.693359375, -2.12194440e-4))
_E0, _E1, _E2, _E3, _E4, _E5 = (
    np.float32(x)
    for x in (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    np.float32(x)
    for x in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
HALF = np.float32(0.5)
_SQRT_HALF = np.float32(0.707106781186547524)


@njit(**FLAGS)
def exponential(x):
    """exp(x) of x <= 0, of less than `LOWEST` 0."""
    given = x
    x = LOWEST if x < LOWEST else x
    z = x * _LOG2_E + _MAGIC
    n = z - _MAGIC
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    return ZERO if given < LOWEST else (p * (r * r) + (r + ONE)) * power_of_two(z)


@njit(**FLAGS)
def missing(x):
    """1 - exp(-x) of x >= 0, exact also where that is near 0."""
    return missing_and_left(x)[0]


@njit(**FLAGS)
def missing_and_left(x):
    """1 - exp(-x) of x >= 0, and exp(-x): of the two each as exact as by itself."""
    y = LOWEST if -x < LOWEST else -x
    z = y * _LOG2_E + _MAGIC
    n = z - _MAGIC
    r = (y - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    power = power_of_two(z)
    p = p * (r * r)
    return (ONE - power) - (p + r) * power, ZERO if -x < LOWEST else (p + (r + ONE)) * power


@njit(**FLAGS)
def logarithm(x):
    """log(x) of x >= 1."""
    m = mantissa(x)
    e = exponent(x)
    small = m < _SQRT_HALF
    e = e - ONE if small else e
    m = (m + m if small else m) - ONE
    y = (((((((_L0 * m + _L1) * m + _L2) * m + _L3) * m + _L4) * m + _L5) * m + _L6) * m + _L7) * m + _L8
    z = m * m
    y = y * m * z + e * _LN2_LOW - HALF * z
    return (m + y) + e * _LN2_HIGH if x == x else x


def _on_bits(name, make):
    """A function of one float32, on its bits as int32."""

    @intrinsic
    def function(typing_context, x):
        def generate(context, builder, signature, arguments):
            return make(builder, builder.bitcast(arguments[0], ir.IntType(32)))

        return types.float32(types.float32), generate

    function.__name__ = name
    return function


def _integer(value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(32), value)


def _make_power_of_two(builder, bits):
    shifted = builder.add(builder.shl(bits, _integer(23)), _integer(0x3F800000))
    return builder.bitcast(shifted, ir.FloatType())


def _make_mantissa(builder, bits):
    mantissa = builder.or_(builder.and_(bits, _integer(0x7FFFFF)), _integer(0x3F000000))
    return builder.bitcast(mantissa, ir.FloatType())


def _make_exponent(builder, bits):
    return builder.sitofp(builder.sub(builder.lshr(bits, _integer(23)), _integer(126)), ir.FloatType())


#: 2^n of n + _MAGIC.
power_of_two = _on_bits("power_of_two", _make_power_of_two)
#: x = mantissa x 2^exponent with a mantissa in [0.5, 1).
mantissa, exponent = _on_bits("mantissa", _make_mantissa), _on_bits("exponent", _make_exponent)


@intrinsic
def from_bits(typing_context, bits):
    """The float32 that has these bits, the lowest 32 of an int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.trunc(arguments[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.int64), generate


@intrinsic
def take_ticket(typing_context, address):
    """Adds 1 to the int64 at `address`, at once for all threads: what it was before."""

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(types.int64), generate


@intrinsic
def prefetch(typing_context, address):
    """Has what is at `address` brought near, into the second cache."""

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(function, [pointer, _integer(0), _integer(2), _integer(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def copy_line(typing_context, source, result):
    """Copies 64 bytes to an address that is a multiple of 64, past the caches: the line there is not read first."""

    def generate(context, builder, signature, arguments):
        line = ir.VectorType(ir.IntType(32), 16)
        source, result = (builder.inttoptr(address, line.as_pointer()) for address in arguments)
        store = builder.store(builder.load(source, align=4), result, align=64)
        store.set_metadata("nontemporal", builder.module.add_metadata([_integer(1)]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def named_for(kind):
    """Gives a function that is made for several kinds a name of its own for each.

    In compiled code that comes from the disk functions are numbered as the process counted that compiled it: one of
    another process may have the same number, and what has the same name too is taken for it.
    """

    def rename(function):
        function.__qualname__ = f"{function.__qualname__}_of_{kind}"
        return function

    return rename


def _make_pointer(element):
    @intrinsic
    def pointer(typing_context, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(types.CPointer(element)))

        return types.CPointer(element)(types.int64), generate

    return pointer


def _make_reader(element):
    pointer = _make_pointer(element)

    @njit(**FLAGS)
    @named_for(element)
    def read(address, size):
        return carray(pointer(address), (size,))

    return read


#: (address, size) -> the array of that many numbers that begins there.
floats, halves = _make_reader(types.float32), _make_reader(types.uint16)
int64s, int32s, int16s, int8s = (
    _make_reader(kind) for kind in (types.int64, types.int32, types.int16, types.int8)
)
bytes_, doubles = _make_reader(types.uint8), _make_reader(types.float64)
