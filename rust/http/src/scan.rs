//! Byte classes of whole blocks at once: the only file with `unsafe`, fuzzed against its portable
//! twin. Knows bytes and positions, never what they mean to HTTP.
//!
//! A parser is written once as a [`Job`], generic over a [`Level`] of hardware; [`run`] picks the
//! best level of this machine and compiles the job for it. A level has the few operations on 32
//! bytes from which the classes below are made, once for all levels. A class of a block is a bit
//! mask, bit `i` for byte `i`.
//!
//! Everything between a job and an instruction is `#[inline(always)]` and free of closures, because
//! only what is inlined into the function of a level is compiled with the features of that level.

/// The bytes of one block.
pub(crate) type Block = [u8; 32];

/// The operations of one kind of hardware on 32 bytes; comparisons give 0xff for yes, 0 for no.
/// Values of a level prove that the machine has it.
pub(crate) trait Level: Copy {
    type Bytes: Copy;
    fn load(self, block: &Block) -> Self::Bytes;
    fn equal(self, bytes: Self::Bytes, byte: u8) -> Self::Bytes;
    /// `low <= byte <= high`, unsigned.
    fn between(self, bytes: Self::Bytes, low: u8, high: u8) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// `a` without the bits of `b`.
    fn and_not(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn xor(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// The high bit of every byte.
    fn bits(self, bytes: Self::Bytes) -> u32;

    /// The bytes of [`Class::NotPlainName`]; hardware that looks up tables has a shorter way.
    #[inline(always)]
    fn not_plain_name(self, bytes: Self::Bytes) -> Self::Bytes {
        // VCHAR without the delimiters "(),/:;<=>?@[\]{} and without _
        let outside = self.or(
            self.between(bytes, 0, b' '),
            self.between(bytes, 0x7f, 0xff),
        );
        let ranges = self.or(
            self.between(bytes, b':', b'@'),
            self.between(bytes, b'[', b']'),
        );
        let brackets = self.or(self.between(bytes, b'(', b')'), self.equal(bytes, b'"'));
        let braces = self.or(self.equal(bytes, b'{'), self.equal(bytes, b'}'));
        let others = self.or(self.equal(bytes, b','), self.equal(bytes, b'/'));
        let odd = self.or(
            self.or(outside, ranges),
            self.or(self.or(brackets, braces), others),
        );
        self.or(odd, self.equal(bytes, b'_'))
    }
}

/// Work that is compiled once per level.
pub(crate) trait Job {
    type Output;
    /// Implementations are `#[inline(always)]`, so that they inherit the features of the level.
    fn run<L: Level>(self, level: L) -> Self::Output;
}

/// Runs `job` at the best level of this machine.
#[inline]
pub(crate) fn run<J: Job>(job: J) -> J::Output {
    #[cfg(target_arch = "x86_64")]
    {
        x86::run(job)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        job.run(Portable)
    }
}

/// Runs jobs at every level of this machine.
#[cfg(feature = "fuzzing")]
pub(crate) fn run_at_every_level<J: Job>(mut job: impl FnMut() -> J) -> Vec<J::Output> {
    vec![job().run(Portable), job().run(BASELINE), run(job())]
}

/// The level that every machine of this architecture has.
#[cfg(target_arch = "x86_64")]
pub(crate) const BASELINE: x86::Sse2 = x86::Sse2;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const BASELINE: Portable = Portable;

// The classes ---------------------------------------------------------------------------------

/// A set of bytes that a line is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Control bytes but HTAB: where a line ends or is broken.
    Stop,
    /// `:`
    Colon,
    /// `?`
    Question,
    /// Bytes that no request target may hold: controls, space, `#`, DEL, 0x80 and above.
    NotTarget,
    /// `_`, and bytes that no token may hold (RFC 9110 section 5.6.2).
    NotPlainName,
    /// All but letters, digits, `.` and `-`: what host names and IPv4 addresses are made of.
    NotPlainHost,
}

/// The bytes of a class in a block.
#[inline(always)]
pub(crate) fn class<L: Level>(level: L, class: Class, bytes: L::Bytes) -> u32 {
    let found = match class {
        Class::Stop => {
            let control = level.and_not(level.between(bytes, 0, 0x1f), level.equal(bytes, b'\t'));
            level.or(control, level.equal(bytes, 0x7f))
        }
        Class::Colon => level.equal(bytes, b':'),
        Class::Question => level.equal(bytes, b'?'),
        Class::NotTarget => {
            let outside = level.or(
                level.between(bytes, 0, b' '),
                level.between(bytes, 0x7f, 0xff),
            );
            level.or(outside, level.equal(bytes, b'#'))
        }
        Class::NotPlainName => level.not_plain_name(bytes),
        Class::NotPlainHost => {
            let letters = level.or(
                level.between(bytes, b'a', b'z'),
                level.between(bytes, b'A', b'Z'),
            );
            let others = level.or(
                level.between(bytes, b'-', b'.'),
                level.between(bytes, b'0', b'9'),
            );
            return !level.bits(level.or(letters, others));
        }
    };
    level.bits(found)
}

/// Bytes of which a block can be loaded from every place.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    /// Where `tail` begins.
    tail_at: usize,
    /// The last block of the bytes (or all, where there are fewer), padded with bytes of no class.
    tail: [u8; 64],
}

impl<'a> Input<'a> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut input = Self {
            bytes,
            tail_at: bytes.len().saturating_sub(32),
            tail: [b'a'; 64],
        };
        match (input.tail.first_chunk_mut::<32>(), bytes.last_chunk()) {
            (Some(place), Some(last)) => *place = *last,
            _ => input.tail[..bytes.len()].copy_from_slice(bytes),
        }
        input
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The 32 bytes from `at` on. Those that the input does not have are in no class.
    #[inline(always)]
    pub(crate) fn block(&self, at: usize) -> &Block {
        match self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(block) => block,
            None => self.tail_block(at),
        }
    }

    /// As [`Input::block`], for places in the last 32 bytes; out of line, to keep loops short.
    #[cold]
    #[inline(never)]
    pub(crate) fn last_block(&self, at: usize) -> &Block {
        self.tail_block(at)
    }

    #[inline(always)]
    fn tail_block(&self, at: usize) -> &Block {
        const NOTHING: &Block = &[b'a'; 32];
        let tail = self.tail.get(at.wrapping_sub(self.tail_at)..);
        tail.and_then(<[u8]>::first_chunk).unwrap_or(NOTHING)
    }
}

/// Where a block differs from `lower`. `letters` has 0x20 where `lower` has a letter, else 0; such
/// a letter is met in either case.
#[inline(always)]
pub(crate) fn unlike<L: Level>(level: L, bytes: L::Bytes, lower: &Block, letters: &Block) -> u32 {
    let difference = level.xor(bytes, level.load(lower));
    let difference = level.and_not(difference, level.load(letters));
    !level.bits(level.equal(difference, 0))
}

/// The positions of [`Class::Stop`], in order.
pub(crate) struct Stops<'a, L> {
    level: L,
    input: &'a Input<'a>,
    /// Bit `i` of the mask is byte `base + i`.
    base: usize,
    mask: u64,
    /// What follows the bytes of the mask.
    rest: &'a [u8],
}

impl<'a, L: Level> Stops<'a, L> {
    /// Those of `input` from `from` on, as positions in it.
    #[inline(always)]
    pub(crate) fn new(level: L, input: &'a Input<'a>, from: usize) -> Self {
        let rest = input.bytes.get(from..).unwrap_or_default();
        Self {
            level,
            input,
            base: input.bytes.len() - rest.len(),
            mask: 0,
            rest,
        }
    }

    /// The next stop, or the length of the input if there is none.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> usize {
        while self.mask == 0 {
            if self.rest.is_empty() {
                return self.input.bytes.len();
            }
            self.refill();
        }
        let position = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        position
    }

    #[inline(always)]
    fn refill(&mut self) {
        self.base = self.input.bytes.len() - self.rest.len();
        let (low, high) = match self.rest.split_first_chunk::<64>() {
            Some((blocks, rest)) => {
                self.rest = rest;
                let (blocks, _) = blocks.as_chunks();
                (&blocks[0], &blocks[1])
            }
            None => {
                self.rest = &[];
                let high = self.base + 32;
                (self.input.block(self.base), self.input.block(high))
            }
        };
        let low = class(self.level, Class::Stop, self.level.load(low));
        let high = class(self.level, Class::Stop, self.level.load(high));
        self.mask = u64::from(low) | u64::from(high) << 32;
    }
}

/// Whether there is a byte of [`Class::Stop`]: for values, which are too short to set up a block.
#[inline]
pub(crate) fn has_stop(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk() {
        // The last word overlaps the one before it, so that no byte is looked at alone.
        let (words, _) = bytes.as_chunks::<8>();
        let stops = words
            .iter()
            .fold(stops_of(*last), |stops, word| stops | stops_of(*word));
        return stops != 0;
    }
    bytes.iter().fold(false, |stops, byte| {
        stops | (*byte < 0x20 && *byte != b'\t') | (*byte == 0x7f)
    })
}

/// The high bit of every byte of [`Class::Stop`].
#[inline(always)]
fn stops_of(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    let control = zero_bytes(word & splat(0xe0)) & !zero_bytes(word ^ splat(b'\t'));
    control | zero_bytes(word ^ splat(0x7f))
}

/// The high bit of every byte that is zero, exact for every input (no carry between bytes).
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    !(((word & splat(0x7f)) + splat(0x7f)) | word) & splat(0x80)
}

const fn splat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

// The levels ----------------------------------------------------------------------------------

/// Plain loops over arrays, which compilers turn into what vector instructions there are.
#[cfg(any(test, feature = "fuzzing", not(target_arch = "x86_64")))]
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[cfg(any(test, feature = "fuzzing", not(target_arch = "x86_64")))]
impl Level for Portable {
    type Bytes = Block;

    #[inline(always)]
    fn load(self, block: &Block) -> Block {
        *block
    }

    #[inline(always)]
    fn equal(self, mut bytes: Block, byte: u8) -> Block {
        for place in &mut bytes {
            *place = if *place == byte { 0xff } else { 0 };
        }
        bytes
    }

    #[inline(always)]
    fn between(self, mut bytes: Block, low: u8, high: u8) -> Block {
        for place in &mut bytes {
            *place = if (low..=high).contains(place) {
                0xff
            } else {
                0
            };
        }
        bytes
    }

    #[inline(always)]
    fn or(self, mut a: Block, b: Block) -> Block {
        for (place, b) in a.iter_mut().zip(b) {
            *place |= b;
        }
        a
    }

    #[inline(always)]
    fn and_not(self, mut a: Block, b: Block) -> Block {
        for (place, b) in a.iter_mut().zip(b) {
            *place &= !b;
        }
        a
    }

    #[inline(always)]
    fn xor(self, mut a: Block, b: Block) -> Block {
        for (place, b) in a.iter_mut().zip(b) {
            *place ^= b;
        }
        a
    }

    #[inline(always)]
    fn bits(self, bytes: Block) -> u32 {
        let (words, _) = bytes.as_chunks::<8>();
        let mut mask = 0;
        for (i, word) in words.iter().enumerate() {
            // Gathers eight high bits into one byte: bit 8k + 7 moves to bit 56 + k.
            let high = (u64::from_le_bytes(*word) & 0x8080_8080_8080_8080) >> 7;
            mask |= ((high.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32) << (8 * i);
        }
        mask
    }
}

/// SSE2, which every x86-64 machine has, and AVX2, which is looked for at run time.
#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "vector instructions load through pointers and need CPU features"
)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Block, Job, Level};

    #[inline]
    pub(super) fn run<J: Job>(job: J) -> J::Output {
        match Avx2::detect() {
            // SAFETY: `detect` found every feature that the function is compiled for.
            Some(level) => unsafe { run_avx2(job, level) },
            None => job.run(Sse2),
        }
    }

    /// Compiles the job with AVX2 and the bit instructions that go with it.
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn run_avx2<J: Job>(job: J, level: Avx2) -> J::Output {
        job.run(level)
    }

    /// Two halves of 16 bytes.
    #[derive(Clone, Copy)]
    pub(crate) struct Sse2;

    impl Level for Sse2 {
        type Bytes = [__m128i; 2];

        #[inline(always)]
        fn load(self, block: &Block) -> Self::Bytes {
            let start: *const __m128i = block.as_ptr().cast();
            // SAFETY: SSE2 is part of x86-64; both loads are unaligned and lie within the 32 bytes.
            unsafe { [_mm_loadu_si128(start), _mm_loadu_si128(start.add(1))] }
        }

        #[inline(always)]
        fn equal(self, [a, b]: Self::Bytes, byte: u8) -> Self::Bytes {
            // SAFETY: SSE2 is part of x86-64.
            unsafe {
                let byte = _mm_set1_epi8(byte as i8);
                [_mm_cmpeq_epi8(a, byte), _mm_cmpeq_epi8(b, byte)]
            }
        }

        #[inline(always)]
        fn between(self, [a, b]: Self::Bytes, low: u8, high: u8) -> Self::Bytes {
            // SAFETY: SSE2 is part of x86-64.
            unsafe {
                let (low, width) = (
                    _mm_set1_epi8(low as i8),
                    _mm_set1_epi8(high.wrapping_sub(low) as i8),
                );
                let (a, b) = (_mm_sub_epi8(a, low), _mm_sub_epi8(b, low));
                [
                    _mm_cmpeq_epi8(_mm_min_epu8(a, width), a),
                    _mm_cmpeq_epi8(_mm_min_epu8(b, width), b),
                ]
            }
        }

        #[inline(always)]
        fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
            // SAFETY: SSE2 is part of x86-64.
            unsafe { [_mm_or_si128(a[0], b[0]), _mm_or_si128(a[1], b[1])] }
        }

        #[inline(always)]
        fn and_not(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
            // SAFETY: SSE2 is part of x86-64.
            unsafe { [_mm_andnot_si128(b[0], a[0]), _mm_andnot_si128(b[1], a[1])] }
        }

        #[inline(always)]
        fn xor(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
            // SAFETY: SSE2 is part of x86-64.
            unsafe { [_mm_xor_si128(a[0], b[0]), _mm_xor_si128(a[1], b[1])] }
        }

        #[inline(always)]
        fn bits(self, [a, b]: Self::Bytes) -> u32 {
            // SAFETY: SSE2 is part of x86-64.
            unsafe { _mm_movemask_epi8(a) as u32 | (_mm_movemask_epi8(b) as u32) << 16 }
        }
    }

    /// Bit `high` of `[low]` for each byte that is not in [`Class::NotPlainName`](super::Class),
    /// by its upper and lower half; twice, as AVX2 looks up each half of a block by itself.
    static PLAIN_NAME: Block = {
        let mut table = [0; 32];
        let mut byte = 0u8;
        while byte < 128 {
            let punctuation = matches!(
                byte,
                b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'`' | b'|' | b'~'
            );
            if punctuation || byte.is_ascii_alphanumeric() {
                table[(byte & 15) as usize] |= 1 << (byte >> 4);
                table[(byte & 15) as usize + 16] |= 1 << (byte >> 4);
            }
            byte += 1;
        }
        table
    };

    /// `1 << high` for the upper halves that ASCII has, else 0.
    static HIGH_BIT: Block = {
        let mut table = [0; 32];
        let mut high = 0;
        while high < 8 {
            table[high] = 1 << high;
            table[high + 16] = 1 << high;
            high += 1;
        }
        table
    };

    /// All 32 bytes. Made by [`Avx2::detect`] only: a value proves that the machine has AVX2.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        #[inline]
        pub(super) fn detect() -> Option<Self> {
            (is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2"))
            .then_some(Self(()))
        }
    }

    impl Level for Avx2 {
        type Bytes = __m256i;

        #[inline(always)]
        fn load(self, block: &Block) -> __m256i {
            // SAFETY: `self` proves AVX2; the load is unaligned, of exactly the 32 bytes.
            unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
        }

        #[inline(always)]
        fn equal(self, bytes: __m256i, byte: u8) -> __m256i {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8)) }
        }

        #[inline(always)]
        fn between(self, bytes: __m256i, low: u8, high: u8) -> __m256i {
            // SAFETY: `self` proves AVX2.
            unsafe {
                let bytes = _mm256_sub_epi8(bytes, _mm256_set1_epi8(low as i8));
                let width = _mm256_set1_epi8(high.wrapping_sub(low) as i8);
                _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, width), bytes)
            }
        }

        #[inline(always)]
        fn or(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_or_si256(a, b) }
        }

        #[inline(always)]
        fn and_not(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_andnot_si256(b, a) }
        }

        #[inline(always)]
        fn xor(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_xor_si256(a, b) }
        }

        #[inline(always)]
        fn bits(self, bytes: __m256i) -> u32 {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_movemask_epi8(bytes) as u32 }
        }

        #[inline(always)]
        fn not_plain_name(self, bytes: __m256i) -> __m256i {
            let (low, high) = (self.load(&PLAIN_NAME), self.load(&HIGH_BIT));
            // SAFETY: `self` proves AVX2.
            let members = unsafe {
                let upper = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
                _mm256_and_si256(
                    // Looks at the lower half only; bytes beyond ASCII give 0.
                    _mm256_shuffle_epi8(low, bytes),
                    _mm256_shuffle_epi8(high, upper),
                )
            };
            self.equal(members, 0)
        }
    }
}

#[cfg(test)]
mod tests;
