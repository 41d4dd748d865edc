//! Bit streams: what is packed unpacks again, and each bit stands where the formula puts it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twolane_formats::bits;

fuzz_target!(|input: &[u8]| {
    let Some((&first, codes)) = input.split_first() else { return };
    // Odd widths too: they must be refused, not packed.
    let width = first % 10;
    let mut packed = Vec::new();
    let fits = (1..=8).contains(&width) && codes.iter().all(|&c| u32::from(c) >> width == 0);
    match bits::pack(codes, width, &mut packed) {
        Err(_) => assert!(!bits::WIDTHS.contains(&width) || !fits),
        Ok(()) => {
            assert!(bits::WIDTHS.contains(&width) && fits);
            let width_bits = usize::from(width);
            for bit in 0..8 * packed.len() {
                let code = codes.get(bit / width_bits).copied().unwrap_or(0);
                assert_eq!(packed[bit / 8] >> (bit % 8) & 1, code >> (bit % width_bits) & 1);
            }
            assert_eq!(bits::unpack(&packed, width, codes.len()).expect("packed"), codes);
        }
    }
    // And the other way round: any bytes are codes.
    for width in bits::WIDTHS {
        let n = codes.len() * 8 / usize::from(width);
        let unpacked = bits::unpack(codes, width, n);
        if bits::packed_len(n, width) == codes.len() {
            let unpacked = unpacked.expect("the lengths fit");
            bits::pack(&unpacked, width, &mut packed).expect("unpacked codes are in range");
        } else {
            assert!(unpacked.is_err());
        }
    }
});
