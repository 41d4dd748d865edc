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
    int4(codes);
});

fn int4(bytes: &[u8]) {
    let signed: Vec<i8> = bytes.iter().map(|&b| b as i8).collect();
    let mut packed = vec![0; bits::packed_len(signed.len(), 4)];
    let fits = signed.iter().all(|c| (-8..=7).contains(c));
    assert_eq!(bits::pack_int4(&signed, &mut packed).is_ok(), fits);
    if fits {
        let mut back = vec![0; signed.len()];
        bits::unpack_int4(&packed, &mut back).expect("packed");
        assert_eq!(back, signed);
    }
}
