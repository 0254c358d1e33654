#!/usr/bin/env python3
"""Where the constants of src/log1p.h come from; docs/log1p.md explains the algorithm.

  make_log1p_coefficients.py f32     Remez, then a search over roundings (two minutes)
  make_log1p_coefficients.py f64     Remez, rounded
  make_log1p_coefficients.py bound   the bound of the float64 error, in ulp, per exponent
  make_log1p_coefficients.py cases   log1p_cases.h: arguments with their true logarithms

Needs mpmath and numpy. The coefficients are printed as src/log1p.h has them: for g = 4 f
and for four times the result. test_log1p_exhaustive decides what the error of the float32
version really is.
"""

import argparse
import random

import mpmath as mp
import numpy as np

mp.mp.dps = 50

CUT_F32 = 0.75
CUT_F64 = float.fromhex("0x1.71p-1")


def remez(n, low, high, target, weight, points=800, rounds=12):
    """The n coefficients of the polynomial P with the smallest max |weight (P - target)| on [low, high]."""
    mid, half = (low + high) / 2, (high - low) / 2
    nodes = [mid - half * mp.cos(mp.pi * (i + 0.5) / (n + 1)) for i in range(n + 1)]
    # No grid point is 0, where the weights vanish and some targets are 0/0.
    grid = [mid - half * mp.cos(mp.pi * (i + mp.mpf("0.37")) / points) for i in range(points)]
    for _ in range(rounds):
        matrix = mp.matrix(n + 1, n + 1)
        right = mp.matrix(n + 1, 1)
        for i, x in enumerate(nodes):
            for j in range(n):
                matrix[i, j] = x**j
            matrix[i, n] = (-1) ** i / weight(x)
            right[i] = target(x)
        solution = mp.lu_solve(matrix, right)
        coefficients = [solution[j] for j in range(n)]
        error = [weight(x) * (mp.polyval(coefficients[::-1], x) - target(x)) for x in grid]
        runs = [[0]]
        for i in range(1, points):
            if error[i] * error[runs[-1][0]] > 0:
                runs[-1].append(i)
            else:
                runs.append([i])
        extremes = [max(run, key=lambda i: abs(error[i])) for run in runs]
        while len(extremes) > n + 1:
            extremes.pop(0 if abs(error[extremes[0]]) < abs(error[extremes[-1]]) else -1)
        assert len(extremes) == n + 1, "the error does not alternate often enough"
        nodes = [grid[i] for i in extremes]
    return coefficients, max(abs(e) for e in error)


def minimax_f32():
    """P with log1p(f) = f + f^2 P(f), the relative error of log1p(f) smallest."""
    return remez(
        9,
        mp.mpf(CUT_F32 - 1),
        mp.mpf(2 * CUT_F32 - 1),
        lambda f: (mp.log1p(f) - f) / f**2,
        lambda f: abs(f * f / mp.log1p(f)),
    )


def minimax_f64():
    """R / z with log((1 + t) / (1 - t)) = 2 t + t R(z), z = t^2, the error of R smallest."""
    f = 2 * mp.mpf(CUT_F64) - 1

    def target(z):
        t = mp.sqrt(z)
        return (mp.log((1 + t) / (1 - t)) - 2 * t) / (t * z)

    return remez(7, mp.mpf(0), (f / (2 + f)) ** 2, target, lambda z: z)


def evaluate_f32(c, x):
    """csrn_log1p_f32 for finite x > -1: the same operations in the same order."""
    one, four = np.float32(1), np.float32(4)
    u = one + x
    s_bits = (np.uint32(0x3FBFFFFF + 0x40800000) - u.view(np.uint32)) & np.uint32(0xFF800000)
    s = s_bits.view(np.float32)
    minus_k = (s_bits - np.uint32(0x40800000)).view(np.int32).astype(np.float32)
    g = x * s - (four - s)
    h = g * g
    h2 = h * h
    p_high = (c[8] * g + c[7]) * h + (c[6] * g + c[5])
    p_low = (c[4] * g + c[3]) * h + (c[2] * g + c[1])
    q = h * ((p_high * h2 + p_low) * g + c[0])
    low = np.float32(float.fromhex("0x1.7f7d1cp-20") * 2.0**-21)
    high = np.float32(float.fromhex("0x1.62e4p-1") * 2.0**-21)
    return ((g + (q - minus_k * low)) - minus_k * high) * np.float32(0.25)


class Sample:
    """The float32 between two numbers, in random order, with log1p and 1 / ulp."""

    def __init__(self, ranges, generator):
        bits = [np.arange(*np.float32([a, b]).view(np.uint32), dtype=np.uint32) for a, b in ranges]
        self.x = generator.permutation(np.concatenate(bits)).view(np.float32)
        self.log1p = np.log1p(self.x.astype(np.float64))
        self.per_ulp = np.ldexp(1.0, 24 - np.frexp(self.log1p)[1])

    def error(self, c, where):
        return np.abs(evaluate_f32(c, self.x[where]) - self.log1p[where]) * self.per_ulp[where]


def search_f32(start, steps, seed):
    """Moves coefficients by a few units and keeps what makes the largest error smaller.

    Points that exposed an earlier candidate are tried first, so that most are dropped soon."""
    sample = Sample([(0.27, 0.5), (-0.225, -0.38)], np.random.default_rng(seed))
    choose = random.Random(seed)
    chunks = [slice(i, i + (1 << 14)) for i in range(0, len(sample.x), 1 << 14)]
    hard = []
    best, best_error = start, np.inf
    for step in range(steps):
        c = best.copy()
        for _ in range(choose.randint(1, 3) if step else 0):
            i = choose.randrange(1, 9)  # c[0] = -1/8 stays
            reach = (0, 2, 8, 8, 200, 200, 20000, 20000, 20000)[i] * choose.choice((1, 1, 50))
            c[i : i + 1].view(np.int32)[0] += choose.randint(-reach, reach)
        if hard and sample.error(c, np.array(hard)).max() > best_error:
            continue
        worst = 0.0
        for chunk in chunks:
            error = sample.error(c, chunk)
            worst = max(worst, error.max())
            if worst > best_error:
                hard = ([chunk.start + int(error.argmax())] + hard)[:512]
                break
        else:
            if worst < best_error:
                print(f"step {step}: {worst:.4f} ulp", flush=True)
            best, best_error = c, worst
    return best


def half_ulp(v):
    """The largest error of a float64 operation whose result is about v."""
    return 2.0 ** (np.floor(np.log2(np.maximum(np.abs(v), 1e-300))) - 53)


def bound_f64(k, approximation):
    """The sum of all errors of csrn_log1p_f64 in ulp of the result, at worst, for one exponent k."""
    f = np.linspace(CUT_F64 - 1, 2 * CUT_F64 - 1, 1 << 16)
    f = f[np.abs(f) > 2.0**-20]
    d = 2 + f
    t = f / d
    t_error = np.abs(t) * half_ulp(d) / d + half_ulp(t)
    z = t * t
    z_error = 2 * np.abs(t) * t_error + half_ulp(z)
    r = z * (2 / 3 + z * (2 / 5 + z * (2 / 7)))
    # R is z times a polynomial near 2/3, whose own roundings come to less than four of its half ulp.
    r_error = (2 / 3 + 4 / 5 * z + 6 / 7 * z * z) * z_error + 4 * z * half_ulp(2 / 3) + half_ulp(r)
    h = f * f / 2
    product = t * (h + r)
    c_error = (
        np.abs(t) * (r_error + half_ulp(h + r))
        + (h + r) * t_error
        + half_ulp(product)
        + np.abs(t) * approximation
        + (half_ulp(product) if k else 0)
    )
    q = h - product
    q_error = np.abs(1 - t) * half_ulp(h) + c_error + half_ulp(q)
    result = k * np.log(2) + np.log1p(f)
    error = q_error
    if k == 1:  # f_low changes q too, which is neglected
        error = error + np.where(f < -0.25, 2.0**-55 * np.abs(f) / (1 + f), 0)
    if k:
        # Where g - q is no finer than the result, k log(2) is added to it exactly.
        inner = half_ulp(f - q)
        error = error + inner + np.where(inner >= half_ulp(result), 0, half_ulp(result))
    else:
        error = error + half_ulp(result)
    return (error / (2 * half_ulp(result))).max()


def evaluate_f64(c, x):
    """csrn_log1p_f64 for finite x > -1: the same operations in the same order."""
    u = 1.0 + x
    s_bits = (np.uint64(0x3FF70FFFFFFFFFFF + 0x4010000000000000) - u.view(np.uint64)) & np.uint64(0xFFF << 52)
    s = s_bits.view(np.float64)
    minus_k = (s_bits >> np.uint64(52)).astype(np.float64) - 1025.0
    xs, rest = x * s, 4.0 - s
    g = xs - rest
    g_low = xs - (g + rest)
    t = g / (8.0 + g)
    z = t * t
    z2 = z * z
    r_high = (c[5] * z + c[4]) + c[6] * z2
    r_low = (c[3] * z + c[2]) * z2 + (c[1] * z + c[0])
    r = z * (r_high * (z2 * z2) + r_low)
    h = (0.125 * g) * g
    low, high = float.fromhex("0x1.ef35793c7673p-43"), float.fromhex("0x1.62e42fefa38p1")
    q = h - (t * (h + r) - (minus_k * low - g_low))
    return ((g - q) - minus_k * high) * 0.25


def edges_f64():
    """Where the algorithm changes: powers of two, the cuts between exponents, the ends of the range."""
    edges = [2.0**e for e in range(-1074, 1024, 61)] + [-(2.0**e) for e in range(-1074, 0, 61)]
    edges += [-(2.0**e) for e in range(-60, 0)] + [2.0**e for e in range(-60, 60)]
    edges += [CUT_F64 * 2.0**k - 1 for k in range(-52, 60)] + [float(np.finfo(np.float64).max)]
    near = [np.nextafter(e, way) for e in edges[:-1] for way in (-1, np.inf)]
    return [float(x) for x in edges + near if -1 < x < np.inf and x]


def hard_f64(count):
    """The arguments with the largest errors among 20 million where these are large."""
    c = [float(4 * c) for c in minimax_f64()[0]]
    generator = np.random.default_rng(1)
    x = np.concatenate([generator.uniform(*ends, 10_000_000) for ends in ((-0.37, -0.2), (0.4, 0.45))])
    y = np.log1p(x.astype(np.longdouble))
    error = np.abs(evaluate_f64(c, x) - y) * np.ldexp(1.0, 53 - np.frexp(y)[1])
    return [float(v) for v in x[np.argsort(error)[-count:]]]


def print_cases():
    mp.mp.prec = 1300  # 1 + 2^-1074 exactly
    print("/* Arguments with their logarithms as high + low, by mpmath; made by make_log1p_coefficients.py:")
    print(" * the ends of the range, the edges of the algorithm and its largest errors. */")
    print("static const struct {")
    print("  double x, high, low;")
    print("} log1p_cases[] = {")
    for x in sorted(set(edges_f64() + hard_f64(300))):
        y = mp.log1p(mp.mpf(x))
        print(f"    {{{x.hex()}, {float(y).hex()}, {float(y - float(y)).hex()}}},")
    print("};")


def show(coefficients):
    for c in coefficients:
        print(f"  {c.hex()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["f32", "f64", "bound", "cases"])
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.what == "f32":
        coefficients, error = minimax_f32()
        print(f"relative error 2^{mp.nstr(mp.log(error, 2), 5)}")
        start = np.array([float(c / 4 ** (i + 1)) for i, c in enumerate(coefficients)], np.float32)
        start[0] = -0.125
        show(float(c) for c in search_f32(start, options.steps, options.seed))
    elif options.what == "f64":
        coefficients, error = minimax_f64()
        print(f"error of R 2^{mp.nstr(mp.log(error, 2), 5)}")
        show(float(4 * c) for c in coefficients)
    elif options.what == "cases":
        print_cases()
    else:
        approximation = float(minimax_f64()[1])
        for k in (*range(-53, 13), 100, 1000):
            print(f"k = {k}: {bound_f64(k, approximation):.3f}")


if __name__ == "__main__":
    main()
