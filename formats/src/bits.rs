//! Sub-byte codes as one little-endian bit stream.
//!
//! Code `i` of `bits` bits starts at bit `i · bits`, counted from the least significant bit of
//! byte 0; codes of 3 and 6 bits cross byte borders; the unused high bits of the last byte are 0:
//!
//! `bytes[i·bits / 8] |= code << (i·bits % 8)`, what spills over going to the next byte's low bits.
//!
//! This is the form of `weight.bin`, of immediate tensors, and of the packed indices and masks of
//! the iOS 16 operations. Eight codes fill exactly `bits` bytes, so that a long run can be packed
//! in pieces, each a multiple of eight codes, in any order.
//!
//! Whole groups of eight codes are packed as one 64-bit word, without a branch; 4, 2 and 1 bits
//! have forms that compilers turn into SIMD. The tests hold each to the formula above.

use crate::{Error, Result};

/// The widths that pack: 1, 2, 3, 4, 6 and 8 bits.
pub const WIDTHS: [u8; 6] = [1, 2, 3, 4, 6, 8];

/// Bytes that `codes` codes of `bits` bits take: `⌈codes · bits / 8⌉`.
pub fn packed_len(codes: usize, bits: u8) -> usize {
    let bits = usize::from(bits);
    codes / 8 * bits + (codes % 8 * bits).div_ceil(8)
}

/// Packs unsigned codes behind what `out` holds.
///
/// # Errors
/// As [`pack_into`].
pub fn pack(codes: &[u8], bits: u8, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    out.resize(start + packed_len(codes.len(), bits), 0);
    pack_into(codes, bits, &mut out[start..])
}

/// Packs unsigned codes into `out`, which must be [`packed_len`] long.
///
/// # Errors
/// [`Error::Bug`] for a width that is none of [`WIDTHS`], a code of more than `bits` bits (the
/// first is named), and an `out` of another length; `out` then holds no meaning.
pub fn pack_into(codes: &[u8], bits: u8, out: &mut [u8]) -> Result<()> {
    check_lengths(codes.len(), bits, out.len())?;
    let seen = match bits {
        1 => pack_words::<1>(codes, out),
        2 => pack_quads(codes, out),
        3 => pack_words::<3>(codes, out),
        4 => pack_pairs(codes, out),
        6 => pack_words::<6>(codes, out),
        _ => {
            out.copy_from_slice(codes);
            0
        }
    };
    if bits == 8 || seen >> bits == 0 {
        return Ok(());
    }
    let at = codes.iter().position(|&c| c >> bits != 0).unwrap_or_default();
    Err(bug(format!("code {} at index {at} has more than {bits} bits", codes[at])))
}

/// Unpacks `n` unsigned codes.
///
/// # Errors
/// As [`unpack_into`].
pub fn unpack(bytes: &[u8], bits: u8, n: usize) -> Result<Vec<u8>> {
    // Before the allocation: `n` may come from a file, the bytes are there.
    check_lengths(n, bits, bytes.len())?;
    let mut codes = vec![0; n];
    unpack_into(bytes, bits, &mut codes)?;
    Ok(codes)
}

/// Unpacks as many unsigned codes as `codes` holds. The unused high bits of the last byte are not
/// looked at.
///
/// # Errors
/// [`Error::Bug`] for a width that is none of [`WIDTHS`], and for `bytes` that are not
/// [`packed_len`] long.
pub fn unpack_into(bytes: &[u8], bits: u8, codes: &mut [u8]) -> Result<()> {
    check_lengths(codes.len(), bits, bytes.len())?;
    match bits {
        1 => unpack_words::<1>(bytes, codes),
        2 => unpack_words::<2>(bytes, codes),
        3 => unpack_words::<3>(bytes, codes),
        4 => unpack_pairs(bytes, codes),
        6 => unpack_words::<6>(bytes, codes),
        _ => codes.copy_from_slice(bytes),
    }
    Ok(())
}

fn check_lengths(codes: usize, bits: u8, bytes: usize) -> Result<()> {
    if !WIDTHS.contains(&bits) {
        return Err(bug(format!("codes of {bits} bits do not pack; 1, 2, 3, 4, 6 and 8 do")));
    }
    let want = packed_len(codes, bits);
    if bytes != want {
        return Err(bug(format!("{codes} codes of {bits} bits take {want} bytes, not {bytes}")));
    }
    Ok(())
}

fn bug(why: String) -> Error {
    Error::Bug { place: "packed codes".into(), why }
}

/// Two 4-bit codes a byte. Returns the union of all codes' bits.
fn pack_pairs(codes: &[u8], out: &mut [u8]) -> u8 {
    let (pairs, last) = codes.as_chunks::<2>();
    let mut seen = 0u16;
    for (&pair, byte) in pairs.iter().zip(&mut *out) {
        let word = u16::from_le_bytes(pair);
        seen |= word;
        *byte = (word | word >> 4) as u8;
    }
    let mut seen = (seen | seen >> 8) as u8;
    if let ([code], Some(byte)) = (last, out.last_mut()) {
        seen |= code;
        *byte = *code;
    }
    seen
}

/// Four 2-bit codes a byte. Returns the union of all codes' bits.
fn pack_quads(codes: &[u8], out: &mut [u8]) -> u8 {
    let (quads, last) = codes.as_chunks::<4>();
    let mut seen = 0u32;
    for (&quad, byte) in quads.iter().zip(&mut *out) {
        let word = u32::from_le_bytes(quad);
        seen |= word;
        *byte = (word | word >> 6 | word >> 12 | word >> 18) as u8;
    }
    let mut seen = seen.to_le_bytes().into_iter().fold(0, |a, b| a | b);
    if !last.is_empty() {
        let byte = &mut out[codes.len() / 4];
        *byte = 0;
        for (i, &code) in last.iter().enumerate() {
            seen |= code;
            *byte |= code << (2 * i);
        }
    }
    seen
}

/// Eight codes of `BITS` bits in `BITS` bytes: each step joins neighbours, doubling their width.
/// Returns the union of all codes' bits.
fn pack_words<const BITS: usize>(codes: &[u8], out: &mut [u8]) -> u8 {
    let join = |x: u64| {
        let x = x & 0x00ff_00ff_00ff_00ff | x >> (8 - BITS) & (0x00ff_00ff_00ff_00ff << BITS);
        let x = x & 0x0000_ffff_0000_ffff
            | x >> (16 - 2 * BITS) & (0x0000_ffff_0000_ffff << (2 * BITS));
        x & 0xffff_ffff | x >> (32 - 4 * BITS) & (0xffff_ffff << (4 * BITS))
    };
    let (groups, last) = codes.as_chunks::<8>();
    let (packed, tail) = out.split_at_mut(groups.len() * BITS);
    let mut seen = 0;
    for (&group, bytes) in groups.iter().zip(packed.as_chunks_mut::<BITS>().0) {
        let word = u64::from_le_bytes(group);
        seen |= word;
        bytes.copy_from_slice(&join(word).to_le_bytes()[..BITS]);
    }
    let mut group = [0; 8];
    group[..last.len()].copy_from_slice(last);
    let word = u64::from_le_bytes(group);
    let tail_len = tail.len();
    tail.copy_from_slice(&join(word).to_le_bytes()[..tail_len]);
    (seen | word).to_le_bytes().into_iter().fold(0, |a, b| a | b)
}

/// Two codes from a byte.
fn unpack_pairs(bytes: &[u8], codes: &mut [u8]) {
    let (pairs, last) = codes.as_chunks_mut::<2>();
    for (pair, &byte) in pairs.iter_mut().zip(bytes) {
        *pair = [byte & 0xf, byte >> 4];
    }
    if let ([one], Some(&byte)) = (last, bytes.last()) {
        *one = byte & 0xf;
    }
}

/// The inverse of [`pack_words`]: each step parts neighbours, halving their width.
fn unpack_words<const BITS: usize>(bytes: &[u8], codes: &mut [u8]) {
    let part = |x: u64| {
        let x = x & ((1 << (4 * BITS)) - 1) | x >> (4 * BITS) << 32;
        let pairs = 0x0000_0001_0000_0001 * ((1 << (2 * BITS)) - 1);
        let x = x & pairs | (x >> (2 * BITS) & pairs) << 16;
        let ones = 0x0001_0001_0001_0001 * ((1 << BITS) - 1);
        x & ones | (x >> BITS & ones) << 8
    };
    let (groups, last) = codes.as_chunks_mut::<8>();
    let (packed, tail) = bytes.split_at(groups.len() * BITS);
    let mut word = [0; 8];
    for (group, bytes) in groups.iter_mut().zip(packed.as_chunks::<BITS>().0) {
        word[..BITS].copy_from_slice(bytes);
        *group = part(u64::from_le_bytes(word)).to_le_bytes();
    }
    let mut word = [0; 8];
    word[..tail.len()].copy_from_slice(tail);
    // Only the last bytes of a group: what lies above its codes is masked per code.
    let group = part(u64::from_le_bytes(word) & ((1 << (8 * BITS)) - 1)).to_le_bytes();
    last.copy_from_slice(&group[..last.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The formula of the module's first lines, bit by bit.
    fn pack_slowly(codes: &[u8], bits: usize) -> Vec<u8> {
        let mut out = vec![0; (codes.len() * bits).div_ceil(8)];
        for (i, &code) in codes.iter().enumerate() {
            for b in 0..bits {
                let bit = i * bits + b;
                out[bit / 8] |= (code >> b & 1) << (bit % 8);
            }
        }
        out
    }

    #[test]
    fn codes_have_the_bytes_that_coremltools_writes() {
        #[rustfmt::skip]
        let cases: &[(u8, &[u8], &[u8])] = &[
            (1, &[1, 0, 1, 1, 0, 0, 0, 1, 1, 0], &[0x8d, 0x01]),
            (2, &[0, 1, 2, 3, 1],                &[0xe4, 0x01]),
            (3, &[1, 2, 3, 4, 5, 6, 7, 0, 5],    &[0xd1, 0x58, 0x1f, 0x05]),
            (4, &[1, 2, 15],                     &[0x21, 0x0f]),
            (6, &[1, 2, 63, 33, 5],              &[0x81, 0xf0, 0x87, 0x05]),
            (8, &[1, 255],                       &[1, 255]),
        ];
        for &(bits, codes, bytes) in cases {
            let mut out = vec![9];
            pack(codes, bits, &mut out).expect("codes in range");
            assert_eq!(out, [&[9], bytes].concat(), "{bits} bits go behind what is there");
            assert_eq!(unpack(bytes, bits, codes.len()).expect("packed"), codes, "{bits} bits");
        }
    }

    #[test]
    fn every_single_bad_code_is_found_and_named() {
        for bits in [1, 2, 3, 4, 6] {
            for at in 0..19 {
                let mut codes = [0; 19];
                codes[at] = 1 << bits;
                let mut out = vec![0; packed_len(19, bits)];
                let error = pack_into(&codes, bits, &mut out).unwrap_err().to_string();
                assert!(error.contains(&format!("index {at} ")), "{bits} bits: {error}");
            }
        }
    }

    #[test]
    fn widths_and_lengths_that_do_not_fit_are_refused() {
        let error = |e: Result<()>| e.unwrap_err().to_string();
        insta::assert_snapshot!(error(pack_into(&[0], 5, &mut [0])), @"bug in twolane, packed codes: codes of 5 bits do not pack; 1, 2, 3, 4, 6 and 8 do; please report it");
        insta::assert_snapshot!(error(pack_into(&[0; 9], 3, &mut [0; 3])), @"bug in twolane, packed codes: 9 codes of 3 bits take 4 bytes, not 3; please report it");
        insta::assert_snapshot!(error(unpack(&[0; 3], 3, usize::MAX).map(drop)), @"bug in twolane, packed codes: 18446744073709551615 codes of 3 bits take 6917529027641081856 bytes, not 3; please report it");
        insta::assert_snapshot!(error(pack_into(&[0, 16], 4, &mut [0])), @"bug in twolane, packed codes: code 16 at index 1 has more than 4 bits; please report it");
    }

    #[test]
    fn stray_bits_behind_the_last_code_do_not_reach_it() {
        for bits in WIDTHS {
            for n in 0..17 {
                let bytes = vec![0xff; packed_len(n, bits)];
                let codes = unpack(&bytes, bits, n).expect("lengths fit");
                assert!(codes.iter().all(|&c| c == 0xff >> (8 - bits)), "{n} × {bits} bits");
            }
        }
    }

    proptest! {
        #[test]
        fn every_width_packs_as_the_formula_and_unpacks_again(
            codes in prop::collection::vec(any::<u8>(), 0..300),
            width in prop::sample::select(&WIDTHS[..]),
        ) {
            let codes: Vec<u8> = codes.iter().map(|c| c >> (8 - width)).collect();
            let mut bytes = vec![0xaa; packed_len(codes.len(), width)];
            pack_into(&codes, width, &mut bytes).expect("codes in range");
            prop_assert_eq!(&bytes, &pack_slowly(&codes, width.into()));
            prop_assert_eq!(unpack(&bytes, width, codes.len()).expect("packed"), codes);
        }
    }
}
