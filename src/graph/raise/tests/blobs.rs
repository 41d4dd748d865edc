//! Blobs and compressed weights, changed in one place at a time.

use super::*;

#[test]
fn blobs_and_compressed_weights() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 14] = [
        |m, _| blob(m, "b", "val").offset += 64,
        |m, _| blob(m, "b", "val").offset += 1,
        |m, _| blob(m, "b", "val").offset = u64::MAX,
        |m, _| blob(m, "b", "val").offset = 64,
        |m, _| blob(m, "b", "val").file_name = "weights/weight.bin".into(),
        |_, file| file[0] -= 1,
        |_, file| file[4] = 1,
        |_, file| file.truncate(300),
        |_, file| file[64] = 0,
        |_, file| file[68] = 3,
        |_, file| file[88] = 4,
        |m, _| {
            let scale = op(m, "w").inputs.remove("scale").unwrap();
            let Some(Binding::Value(value)) = scale.only().cloned() else { panic!("a literal") };
            op(m, "w").attributes.insert("scale".into(), value);
        },
        |m, _| op(m, "w").r#type = "constexpr_affine_dequantize".into(),
        |m, _| {
            m.specification_version = 8;
            let function = main(m);
            function.opset = "CoreML7".into();
            let block = function.block_specializations.pop_first().unwrap().1;
            function.block_specializations.insert("CoreML7".into(), block);
        },
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    main: const `b`: val: malformed weight.bin, byte 832: a metadata record passes the end of the file, 864; fetch or convert the package again

    main: const `b`: val: malformed weight.bin, byte 769: metadata stand at multiples of 64 behind the header; fetch or convert the package again

    main: const `b`: val: malformed weight.bin, byte 18446744073709551615: metadata stand at multiples of 64 behind the header; fetch or convert the package again

    main: const `b`: val: its blob at 64 holds int8, not fp16

    main: const `b`: val: weights/weight.bin: there is no such file; convert again

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 0: the header's 2 blobs end at 736, the file at 864; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: scale: weight.bin, byte 4: the blob storage version is 1; version 2 can be read, which every ML Program has
    main: const `b`: val: weight.bin, byte 4: the blob storage version is 1; version 2 can be read, which every ML Program has

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 72: 512 bytes at 128 pass the end of the file, 300; fetch or convert the package again
    main: const `b`: val: malformed weight.bin, byte 768: a metadata record passes the end of the file, 300; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 64: 0xdeadbe00 is not the 0xdeadbeef of metadata; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: data: its blob at 64 holds uint8, not int8

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 88: 512 bytes less 4 bits are no whole number of int8 elements; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: scale: parameters of constexpr_blockwise_shift_scale are inputs for ios18, not attributes

    main: constexpr_affine_dequantize `w`: data: parameters of constexpr_affine_dequantize are attributes for ios18, not inputs
    main: constexpr_affine_dequantize `w`: scale: parameters of constexpr_affine_dequantize are attributes for ios18, not inputs

    main: input `acc`: states need ios18, the package is for ios17
    main: constexpr_blockwise_shift_scale `w`: it needs ios18, the package is for ios17
    main: read_state `r`: needs ios18, the target is ios17
    ");
}
