"""Randomness is a key: every random number is a pure function of (seed, STREAM, i, t).

`i` is the layer and `t` the step.  Two uses never share a key, so adding noise to a rule never
changes the order of the data, and a resumed run is the uninterrupted one.
"""
WEIGHTS, FEEDBACK, NOISE, DATA, MIRROR, AUXILIARY, REWARD, AUGMENT, WARM_UP = range(9)
