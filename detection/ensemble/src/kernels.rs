// SPDX-License-Identifier: Apache-2.0
//! Vector instructions, where the processor has them. The only `unsafe` of judging: vectors are read from arrays whose
//! size the type says, and a function for AVX2 is called where AVX2 was found.
#![allow(unsafe_code, reason = "see the module")]

use crate::mlp::{INPUTS, Mlp};

/// The output's sum.
#[inline]
pub(crate) fn mlp(mlp: &Mlp, inputs: &[u8; INPUTS]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::mlp(mlp, inputs) };
    }
    mlp.sum_plain(inputs)
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_add_epi32, _mm_cvtsi32_si128, _mm_cvtsi128_si32, _mm_loadl_epi64, _mm_shuffle_epi32,
        _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepi8_epi32, _mm256_extracti128_si256,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_epi32, _mm256_min_epi32,
        _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sra_epi32,
    };

    use crate::mlp::{HIDDEN, INPUTS, LANES, Mlp};

    /// Neurons of one vector.
    const WIDTH: usize = 8;

    #[target_feature(enable = "avx2")]
    pub(super) fn mlp(mlp: &Mlp, inputs: &[u8; INPUTS]) -> i32 {
        let ones = _mm256_set1_epi16(1);
        let shift = _mm_cvtsi32_si128(mlp.shift.cast_signed());
        let (groups, _) = inputs.as_chunks::<LANES>();
        let mut total = _mm256_setzero_si256();
        for block in 0..HIDDEN / WIDTH {
            // SAFETY: eight numbers of 32 bits from a multiple of eight below 32.
            let mut sums: __m256i =
                unsafe { _mm256_loadu_si256(mlp.biases.as_ptr().add(block * WIDTH).cast()) };
            for (weights, group) in mlp.hidden.iter().zip(groups) {
                let input = _mm256_set1_epi32(i32::from_le_bytes(*group));
                // SAFETY: eight neurons of four bytes from a multiple of eight below 32.
                let weights: __m256i =
                    unsafe { _mm256_loadu_si256(weights.as_ptr().add(block * WIDTH).cast()) };
                // Inputs are at most 127: two products fit 16 bits, so nothing saturates.
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(input, weights), ones));
            }
            let neurons = _mm256_sra_epi32(sums, shift);
            let neurons =
                _mm256_min_epi32(_mm256_max_epi32(neurons, _mm256_setzero_si256()), _mm256_set1_epi32(127));
            // SAFETY: eight bytes from a multiple of eight below 32.
            let output = unsafe { _mm_loadl_epi64(mlp.output.as_ptr().add(block * WIDTH).cast()) };
            // A neuron's upper half is 0, so the upper product is too.
            total = _mm256_add_epi32(total, _mm256_madd_epi16(neurons, _mm256_cvtepi8_epi32(output)));
        }
        let halves = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256::<1>(total));
        let pairs = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b00_00_11_10>(halves));
        let one = _mm_add_epi32(pairs, _mm_shuffle_epi32::<0b00_00_00_01>(pairs));
        mlp.output_bias.wrapping_add(_mm_cvtsi128_si32(one))
    }
}
