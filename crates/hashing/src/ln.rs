//! The natural logarithm, the same to the last bit on every platform.

use std::f64::consts::{LN_2, SQRT_2};

/// ln `x` for a normal, positive `x`.
///
/// The standard library's may differ in its last bits from one platform or release to the next,
/// and with it an owner. This one adds, multiplies and divides, which IEEE 754 defines exactly.
///
/// x = m · 2ᵉ with m from √½ to √2, and ln m = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …) for
/// s = (m − 1) / (m + 1), which is at most 0.172.
pub(crate) fn ln(x: f64) -> f64 {
    const FRACTION: u64 = (1 << 52) - 1;
    const ONE: u64 = 0x3ff << 52;
    let bits = x.to_bits();
    let mut m = f64::from_bits(bits & FRACTION | ONE);
    let mut e = f64::from(u32::try_from(bits >> 52).unwrap_or(0)) - 1023.0;
    if m > SQRT_2 {
        m *= 0.5;
        e += 1.0;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut series = 0.0;
    let mut k = 21.0;
    while k >= 1.0 {
        series = series * square + 1.0 / k;
        k -= 2.0;
    }
    e * LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn these_bits_are_frozen() {
        for (x, bits) in [
            (0.5, 0xbfe6_2e42_fefa_39ef),
            (0.1, 0xc002_6bb1_bbb5_5515),
            (1.0 - f64::EPSILON / 2.0, 0xbca0_0000_0000_0000),
        ] {
            assert_eq!(ln(x).to_bits(), bits, "{x}: {:#x}", ln(x).to_bits());
        }
    }

    proptest! {
        #[test]
        fn it_is_the_logarithm(bits in 1_u64..1 << 52) {
            let x = bits as f64 / (1_u64 << 52) as f64;
            prop_assert!((ln(x) - x.ln()).abs() <= 4.0 * f64::EPSILON * x.ln().abs());
        }
    }
}
