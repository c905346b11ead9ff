"""Tokens mixed by a Fourier transform."""

import numpy as np
import tensorflow as tf

from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.fourier import FourierMixing, mixed

STATES = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)


def test_it_is_the_real_part_of_the_transform():
    np.testing.assert_allclose(mixed(STATES), np.fft.fft2(STATES).real, atol=1e-4)


def test_the_gradient_is_that_of_its_matrices():
    """The real part is cosines times cosines less sines times sines."""
    upstream = np.random.default_rng(1).normal(size=STATES.shape).astype(np.float32)
    states = tf.constant(STATES)
    with tf.GradientTape() as tape:
        tape.watch(states)
        given = tf.reduce_sum(mixed(states) * upstream)
    places, elements = (np.fft.fft(np.eye(size)) for size in STATES.shape[1:])
    expected = np.einsum("kl,bkm,mh->blh", places, upstream, elements).real
    np.testing.assert_allclose(tape.gradient(given, states), expected, atol=1e-4)


def test_the_sum_of_all_is_beyond_float16():
    states = tf.ones((1, 512, 256), tf.float16)
    assert FourierMixing()(states, None, Dropping(None, 0))[0, 0, 0] == 512 * 256
