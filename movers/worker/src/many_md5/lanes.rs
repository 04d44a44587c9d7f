//! The arithmetic of MD5 (RFC 1321, 3.4) on several messages at once, each in a lane of the processor's vectors.
//!
//! Each step of MD5 waits for the one before, so that one message leaves most of a processor idle. Sixteen messages in one
//! vector take hardly longer than one.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256i, __m512i};

#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{Arch, Scalar, Simd, WithSimd};

/// Messages at once: the lanes of the widest vectors there are. Where they are narrower, these are taken in groups.
pub(super) const LANES: usize = 16;
/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// What MD5 has made of a message so far.
pub(super) type State = [u32; 4];

/// RFC 1321, 3.3.
pub(super) const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// How far each step of the four rounds turns (RFC 1321, 3.4).
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The 2^32 times the sines of 1 to 64, without signs and fractions (RFC 1321, 3.4).
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Takes in equally many whole blocks of each message.
pub(super) fn take_in(arch: Arch, states: &mut [State], messages: &[&[u8]]) {
    for (states, messages) in states.chunks_mut(LANES).zip(messages.chunks(LANES)) {
        let work = Lanes { states, messages };
        match (messages, arch) {
            // One alone is taken in faster without vectors.
            ([_], _) => work.by_rows(Scalar::new(), of_one),
            #[cfg(target_arch = "x86_64")]
            (_, Arch::V3(simd)) => simd.vectorize(
                #[inline(always)]
                || work.by_rows(simd, eight_transposed),
            ),
            #[cfg(target_arch = "x86_64")]
            (_, Arch::V4(simd)) => simd.vectorize(
                #[inline(always)]
                || work.by_rows(simd, transposed),
            ),
            _ => arch.dispatch(work),
        }
    }
}

struct Lanes<'a> {
    states: &'a mut [State],
    messages: &'a [&'a [u8]],
}

/// One word of each message.
type Row = [u32; LANES];

/// A block of each message of a group, as rows: which of the messages, where their blocks begin, and the group.
type Rows<S> = fn(S, &[&[u8]], usize, usize) -> [<S as Simd>::u32s; 16];

impl Lanes<'_> {
    #[inline(always)]
    fn by_rows<S: Simd>(self, simd: S, rows: Rows<S>) {
        let Self { states, messages } = self;
        let mut state = [[0; LANES]; 4];
        for (lane, one) in states.iter().enumerate() {
            (0..4).for_each(|word| state[word][lane] = one[word]);
        }
        let sizes = messages.iter().map(|message| message.len() / BLOCK);
        let blocks = sizes.min().unwrap_or(0);
        for group in 0..messages.len().div_ceil(S::U32_LANES) {
            let mut of_group: [S::u32s; 4] =
                std::array::from_fn(|word| S::as_simd_u32s(&state[word]).0[group]);
            for at in (0..blocks).map(|block| block * BLOCK) {
                let words = rows(simd, messages, at, group);
                of_group = block::<S>(simd, of_group, &words);
            }
            for word in 0..4 {
                S::as_mut_simd_u32s(&mut state[word]).0[group] = of_group[word];
            }
        }
        for (lane, one) in states.iter_mut().enumerate() {
            *one = std::array::from_fn(|word| state[word][lane]);
        }
    }
}

impl WithSimd for Lanes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.by_rows(simd, word_by_word::<S>);
    }
}

/// One word after the other.
#[inline(always)]
fn of_one(_: Scalar, messages: &[&[u8]], at: usize, group: usize) -> [u32; 16] {
    let rest = messages.get(group).and_then(|message| message.get(at..));
    let block: Option<&[u8; BLOCK]> = rest.and_then(<[u8]>::first_chunk);
    let (words, _) = block.unwrap_or(&[0; BLOCK]).as_chunks::<4>();
    std::array::from_fn(
        #[inline(always)]
        |word| u32::from_le_bytes(words[word]),
    )
}

/// For any processor.
#[inline(always)]
fn word_by_word<S: Simd>(_: S, messages: &[&[u8]], at: usize, group: usize) -> [S::u32s; 16] {
    let mut words: [Row; 16] = [[0; LANES]; 16];
    let of_group = messages.iter().skip(group * S::U32_LANES).take(S::U32_LANES);
    for (lane, message) in of_group.enumerate() {
        let (block, _) = message[at..at + BLOCK].as_chunks::<4>();
        (0..16).for_each(|word| words[word][lane] = u32::from_le_bytes(block[word]));
    }
    std::array::from_fn(
        #[inline(always)]
        |word| S::as_simd_u32s(&words[word]).0[0],
    )
}

/// For AVX2: two tables of 8 messages by 8 words are turned over in vectors.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn eight_transposed(simd: V3, messages: &[&[u8]], at: usize, group: usize) -> [pulp::u32x8; 16] {
    let vectors = simd.avx2;
    let lines: [[__m256i; 2]; 8] = std::array::from_fn(
        #[inline(always)]
        |lane| {
            let message = messages.get(group * 8 + lane);
            let rest = message.and_then(|message| message.get(at..));
            let block: Option<&[u8; BLOCK]> = rest.and_then(<[u8]>::first_chunk);
            pulp::cast(*block.unwrap_or(&[0; BLOCK]))
        },
    );
    let mut words = [pulp::u32x8(0, 0, 0, 0, 0, 0, 0, 0); 16];
    for half in 0..2 {
        let mut rows = lines.map(
            #[inline(always)]
            |line| line[half],
        );
        for pair in rows.as_chunks_mut::<2>().0 {
            let [one, other] = *pair;
            *pair = [
                vectors._mm256_unpacklo_epi32(one, other),
                vectors._mm256_unpackhi_epi32(one, other),
            ];
        }
        for four in rows.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = *four;
            *four = [
                vectors._mm256_unpacklo_epi64(a, c),
                vectors._mm256_unpackhi_epi64(a, c),
                vectors._mm256_unpacklo_epi64(b, d),
                vectors._mm256_unpackhi_epi64(b, d),
            ];
        }
        for word in 0..4 {
            let (first, last) = (rows[word], rows[4 + word]);
            let low = vectors._mm256_permute2x128_si256::<0x20>(first, last);
            let high = vectors._mm256_permute2x128_si256::<0x31>(first, last);
            words[8 * half + word] = pulp::cast(low);
            words[8 * half + 4 + word] = pulp::cast(high);
        }
    }
    words
}

/// For AVX-512: a table of 16 messages by 16 words is turned over in vectors, which takes half the time that MD5 takes with
/// words moved one by one.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(simd: V4, messages: &[&[u8]], at: usize, _group: usize) -> [pulp::u32x16; 16] {
    let vectors = simd.avx512f;
    let mut rows: [__m512i; 16] = std::array::from_fn(
        #[inline(always)]
        |lane| {
            let rest = messages.get(lane).and_then(|message| message.get(at..));
            let block: Option<&[u8; BLOCK]> = rest.and_then(<[u8]>::first_chunk);
            pulp::cast(*block.unwrap_or(&[0; BLOCK]))
        },
    );
    // Words of two messages, then of four, come to lie beside each other in each quarter of a vector.
    for pair in rows.as_chunks_mut::<2>().0 {
        let [one, other] = *pair;
        *pair = [
            vectors._mm512_unpacklo_epi32(one, other),
            vectors._mm512_unpackhi_epi32(one, other),
        ];
    }
    for four in rows.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *four;
        *four = [
            vectors._mm512_unpacklo_epi64(a, c),
            vectors._mm512_unpackhi_epi64(a, c),
            vectors._mm512_unpacklo_epi64(b, d),
            vectors._mm512_unpackhi_epi64(b, d),
        ];
    }
    // Now quarter `q` of vector `4 * m + w` holds word `4 * q + w` of messages `4 * m` to `4 * m + 3`.
    for word in 0..4 {
        let [a, b, c, d] = [rows[word], rows[4 + word], rows[8 + word], rows[12 + word]];
        let first_even = vectors._mm512_shuffle_i32x4::<EVEN>(a, b);
        let first_odd = vectors._mm512_shuffle_i32x4::<ODD>(a, b);
        let last_even = vectors._mm512_shuffle_i32x4::<EVEN>(c, d);
        let last_odd = vectors._mm512_shuffle_i32x4::<ODD>(c, d);
        rows[word] = vectors._mm512_shuffle_i32x4::<EVEN>(first_even, last_even);
        rows[4 + word] = vectors._mm512_shuffle_i32x4::<EVEN>(first_odd, last_odd);
        rows[8 + word] = vectors._mm512_shuffle_i32x4::<ODD>(first_even, last_even);
        rows[12 + word] = vectors._mm512_shuffle_i32x4::<ODD>(first_odd, last_odd);
    }
    std::array::from_fn(
        #[inline(always)]
        |word| pulp::cast(rows[word]),
    )
}

/// Quarters 0 and 2 of each of two vectors, and 1 and 3.
#[cfg(target_arch = "x86_64")]
const EVEN: i32 = 0b10_00_10_00;
#[cfg(target_arch = "x86_64")]
const ODD: i32 = 0b11_01_11_01;

/// One block of each message of a group.
#[inline(always)]
fn block<S: Simd>(simd: S, before: [S::u32s; 4], words: &[S::u32s; 16]) -> [S::u32s; 4] {
    let after = round::<0, S>(simd, before, words);
    let after = round::<1, S>(simd, after, words);
    let after = round::<2, S>(simd, after, words);
    let after = round::<3, S>(simd, after, words);
    std::array::from_fn(
        #[inline(always)]
        |word| simd.add_u32s(before[word], after[word]),
    )
}

#[inline(always)]
fn round<const ROUND: usize, S: Simd>(simd: S, state: [S::u32s; 4], words: &[S::u32s; 16]) -> [S::u32s; 4] {
    let [mut a, mut b, mut c, mut d] = state;
    for quarter in 0..4 {
        let at = |number: usize| (quarter * 4 + number, words);
        a = step::<ROUND, S>(simd, [a, b, c, d], at(0));
        d = step::<ROUND, S>(simd, [d, a, b, c], at(1));
        c = step::<ROUND, S>(simd, [c, d, a, b], at(2));
        b = step::<ROUND, S>(simd, [b, c, d, a], at(3));
    }
    [a, b, c, d]
}

#[inline(always)]
fn step<const ROUND: usize, S: Simd>(
    simd: S,
    [a, b, c, d]: [S::u32s; 4],
    (number, words): (usize, &[S::u32s; 16]),
) -> S::u32s {
    let mixed = match ROUND {
        0 => simd.xor_u32s(d, simd.and_u32s(b, simd.xor_u32s(c, d))),
        1 => simd.xor_u32s(c, simd.and_u32s(d, simd.xor_u32s(b, c))),
        2 => simd.xor_u32s(simd.xor_u32s(b, c), d),
        _ => simd.xor_u32s(c, simd.or_u32s(b, simd.not_u32s(d))),
    };
    let word = match ROUND {
        0 => number,
        1 => (5 * number + 1) % 16,
        2 => (3 * number + 5) % 16,
        _ => (7 * number) % 16,
    };
    let known = simd.add_u32s(words[word], simd.splat_u32s(SINES[ROUND * 16 + number]));
    let sum = simd.add_u32s(simd.add_u32s(a, known), mixed);
    let turn = TURNS[ROUND][number % 4];
    let left = simd.wrapping_dyn_shl_u32s(sum, simd.splat_u32s(turn));
    let right = simd.wrapping_dyn_shr_u32s(sum, simd.splat_u32s(32 - turn));
    simd.add_u32s(simd.or_u32s(left, right), b)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// What each processor would make of some messages.
    fn digested(arch: Arch, count: usize) -> Vec<State> {
        let message = |seed: usize| (0..BLOCK * 3).map(move |at| (at * 7 + seed * 13 + at / 9) as u8);
        let messages: Vec<Vec<u8>> = (0..count).map(|seed| message(seed).collect()).collect();
        let mut states = vec![START; count];
        take_in(
            arch,
            &mut states,
            &messages.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        );
        states
    }

    #[test]
    fn every_width_makes_the_same() {
        for count in [1, 2, 7, 8, 9, 15, 16, 17, 33] {
            let plain: Vec<State> = digested(Arch::Scalar, count);
            if let Some(simd) = V3::try_new() {
                assert_eq!(digested(Arch::V3(simd), count), plain, "{count} with AVX2");
            }
            if let Some(simd) = V4::try_new() {
                assert_eq!(digested(Arch::V4(simd), count), plain, "{count} with AVX-512");
            }
        }
    }
}
