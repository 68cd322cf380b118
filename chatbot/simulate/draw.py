"""Numbers that look random and depend on nothing but what they are asked for with. Pure.

So what a session says, and how long it thinks, is the same in every run with the same seed, whatever came first.
"""

_MASK = (1 << 64) - 1


def bits(seed: int, session: int, index: int) -> int:
    """Return 64 bits: the finalizer of SplitMix64 over the three numbers.

    Source: https://doi.org/10.1145/2714064.2660195 (Steele, Lea, Flood: Fast splittable pseudorandom number generators)
    """
    x = _mixed(seed * 0x9E3779B97F4A7C15 + session + 1)
    return _mixed(x + (index + 1) * 0x9E3779B97F4A7C15)


def uniform(seed: int, session: int, index: int) -> float:
    """Return a number from 0 up to, but not including, 1."""
    return (bits(seed, session, index) >> 11) * 2.0**-53


def _mixed(x: int) -> int:
    x &= _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)
