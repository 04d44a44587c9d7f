//! The arithmetic of MD5 (RFC 1321, 3.4) on several messages at once, each in a lane of the processor's vectors.
//!
//! Each step of MD5 waits for the one before, so that one message leaves most of a processor idle. Sixteen messages in one
//! vector take hardly longer than one.

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
        // One alone is taken in faster without vectors.
        match messages {
            [_] => work.with_simd(Scalar::new()),
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

impl WithSimd for Lanes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { states, messages } = self;
        let mut state = [[0; LANES]; 4];
        for (lane, one) in states.iter().enumerate() {
            (0..4).for_each(|word| state[word][lane] = one[word]);
        }
        let blocks = messages
            .iter()
            .map(|message| message.len() / BLOCK)
            .min()
            .unwrap_or(0);
        let mut words: [Row; 16] = [[0; LANES]; 16];
        for at in (0..blocks).map(|block| block * BLOCK) {
            for (lane, message) in messages.iter().enumerate() {
                let (block, _) = message[at..at + BLOCK].as_chunks::<4>();
                (0..16).for_each(|word| words[word][lane] = u32::from_le_bytes(block[word]));
            }
            for group in 0..messages.len().div_ceil(S::U32_LANES) {
                block::<S>(simd, &mut state, &words, group);
            }
        }
        for (lane, one) in states.iter_mut().enumerate() {
            *one = std::array::from_fn(|word| state[word][lane]);
        }
    }
}

/// One block of each message of a group.
#[inline(always)]
fn block<S: Simd>(simd: S, state: &mut [Row; 4], words: &[Row; 16], group: usize) {
    let words: [S::u32s; 16] = std::array::from_fn(|word| S::as_simd_u32s(&words[word]).0[group]);
    let before: [S::u32s; 4] = std::array::from_fn(|word| S::as_simd_u32s(&state[word]).0[group]);
    let after = round::<0, S>(simd, before, &words);
    let after = round::<1, S>(simd, after, &words);
    let after = round::<2, S>(simd, after, &words);
    let after = round::<3, S>(simd, after, &words);
    for word in 0..4 {
        S::as_mut_simd_u32s(&mut state[word]).0[group] = simd.add_u32s(before[word], after[word]);
    }
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
