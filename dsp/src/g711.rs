//! ITU-T G.711 as formulas: what a code means, and which code a sample gets.
//!
//! In:       one sample or one code.
//! Out:      the other; and the four tables those formulas give, built at compile time.
//! Bounds:   none: every byte and every 16-bit sample is valid.
//! Not here: speed. The kernels are judged by these functions.
//!
//! Both laws are the same idea: a floating-point number in eight bits. A sign, three bits of
//! exponent (the *segment*) and four bits of mantissa (the *step*). mu-law adds a bias of 33
//! before it takes the exponent, so that its numbers are always normalised; A-law lets the lowest
//! segment be denormal instead. Seen so, both encoders end in one formula:
//!
//! ```text
//! shift = floor(log2(magnitude)) - 4              position of the four mantissa bits
//! code  = (magnitude >> shift) + 16 * (shift - 4)     the leading one carries into the segment
//! ```
//!
//! G.711 leaves open where a sample on a decision value belongs and how a negative sample becomes
//! a magnitude. The rule here is that of the ITU-T software tool library (Recommendation G.191):
//! ones' complement, and the decision value belongs to the interval above it.

/// The mu-law code of silence: positive zero.
pub const MULAW_SILENCE: u8 = 0xFF;

/// The A-law code of silence: the smallest positive value, +8; A-law has no zero.
pub const ALAW_SILENCE: u8 = 0xD5;

/// Added to a 16-bit mu-law magnitude before its exponent is taken: 33 of G.711's 14-bit scale.
pub(crate) const MULAW_BIAS: i16 = 33 << 2;

/// The 16-bit sample a mu-law code stands for, -32,124 to 32,124 (G.711 table 2a, times 4).
#[must_use]
pub const fn mulaw_to_linear(code: u8) -> i16 {
    // Sent with all bits inverted, so that silence keeps a line's repeaters awake.
    let bits = !code;
    let segment = (bits >> 4) & 7;
    let step = (bits & 15) as i16;
    let magnitude = ((step * 8 + MULAW_BIAS) << segment) - MULAW_BIAS;
    if bits & 0x80 != 0 { -magnitude } else { magnitude }
}

/// The mu-law code of a 16-bit sample. Magnitudes beyond 32,635 get the outermost code.
#[must_use]
pub const fn linear_to_mulaw(sample: i16) -> u8 {
    let magnitude = ones_complement_magnitude(sample).saturating_add(MULAW_BIAS);
    let bits = exponent_and_mantissa(magnitude);
    if sample < 0 { bits ^ 0x7F } else { bits ^ 0xFF }
}

/// The 16-bit sample an A-law code stands for, -32,256 to 32,256 (G.711 table 1a, times 16).
#[must_use]
pub const fn alaw_to_linear(code: u8) -> i16 {
    // Sent with every other bit inverted.
    let bits = code ^ 0x55;
    let segment = (bits >> 4) & 7;
    let step = (bits & 15) as i16;
    let magnitude = if segment == 0 { step * 16 + 8 } else { (step * 16 + 0x108) << (segment - 1) };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

/// The A-law code of a 16-bit sample.
#[must_use]
pub const fn linear_to_alaw(sample: i16) -> u8 {
    let bits = exponent_and_mantissa_alaw(ones_complement_magnitude(sample));
    if sample < 0 { bits ^ 0x55 } else { bits ^ 0xD5 }
}

/// `sample` for positive samples, `-sample - 1` for negative ones: G.191's reduction.
const fn ones_complement_magnitude(sample: i16) -> i16 {
    sample ^ (sample >> 15)
}

/// Segment and step of a biased magnitude, 132 to 32,767.
const fn exponent_and_mantissa(magnitude: i16) -> u8 {
    let shift = 27 - (magnitude as u32).leading_zeros() as i16;
    ((magnitude >> shift) + 16 * (shift - 4)) as u8
}

/// The same with the lowest segment denormal: below 256 the shift stays at 4.
const fn exponent_and_mantissa_alaw(magnitude: i16) -> u8 {
    let shift = 27 - (magnitude as u32 | 0x100).leading_zeros() as i16;
    ((magnitude >> shift) + 16 * (shift - 4)) as u8
}

/// [`mulaw_to_linear`] of every code.
pub static MULAW_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mulaw_to_linear(code as u8);
        code += 1;
    }
    table
};

/// [`alaw_to_linear`] of every code.
pub static ALAW_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = alaw_to_linear(code as u8);
        code += 1;
    }
    table
};
