//! The kernels of Vocaris.
