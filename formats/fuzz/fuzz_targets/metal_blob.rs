//! Metal blobs: an error, or a file whose plan says the same and whose every weight decodes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use twolane_formats::metal_blob::{
    Dtype, Encoding, Entries, Granularity, Grouping, Lanes, Linear, PAGE, Palette, Plan, Plane,
    Reader, Values, Weight,
};

fuzz_target!(|input: &[u8]| {
    whole(input);
    let Some((&pages, text)) = input.split_first() else { return };
    // Mutations seldom get the header's length and padding right, so they are written for them
    // here; the first byte says how many pages of zeros follow the header.
    let header = (8 + text.len()).next_multiple_of(PAGE as usize);
    let mut file = (header as u64 - 8).to_le_bytes().to_vec();
    file.extend_from_slice(text);
    file.resize(header, b' ');
    file.resize(header + usize::from(pages % 16) * PAGE as usize, 0);
    whole(&file);
    planned(text);
});

/// What is accepted is a sound safetensors file, lies where a plan of its weights puts it, and
/// decodes to as many values as its shape says.
fn whole(file: &[u8]) {
    let Ok(reader) = Reader::open(file) else { return };
    let theirs = SafeTensors::deserialize(file).expect("the safetensors crate accepts it too");
    assert_eq!(theirs.len(), reader.planes().len());
    let plan = Plan::new(reader.weights().to_vec()).expect("they were planned before");
    // Another JSON may make the header longer or shorter; the data lie the same.
    let start = |planes: &[Plane]| planes.first().map_or(0, |plane| plane.offset);
    let (ours, its) = (start(plan.planes()), start(reader.planes()));
    assert_eq!(plan.planes().len(), reader.planes().len());
    for (plane, found) in plan.planes().iter().zip(reader.planes()) {
        assert_eq!(plane.holds, found.holds);
        assert_eq!((plane.dtype, &plane.shape), (found.dtype, &found.shape));
        assert_eq!((plane.offset - ours, plane.len), (found.offset - its, found.len));
    }
    for (index, weight) in reader.weights().iter().enumerate() {
        let matrix = weight.encoding.code_matrix(&weight.shape).expect("it was accepted");
        let codes = reader.codes(index).expect("it was accepted");
        assert_eq!(codes.map(|c| c.len()), matrix.map(|[n, k]| n * k));
        let elements: usize = weight.shape.iter().product();
        match reader.values(index).expect("it was accepted") {
            Values::F16(values) => assert_eq!(values.len(), elements),
            Values::F32(values) => assert_eq!(values.len(), elements),
            Values::Raw(_) => {}
        }
    }
}

/// Plans weights described by 8 bytes each, and opens the file of zeros that results.
fn planned(input: &[u8]) {
    let weights: Vec<_> = input.as_chunks::<8>().0.iter().take(8).map(weight).collect();
    let weights =
        weights.into_iter().enumerate().map(|(i, w)| Weight { name: format!("{i}"), ..w });
    let Ok(plan) = Plan::new(weights.collect()) else { return };
    if plan.file_len() > 1 << 20 {
        return;
    }
    let mut file = plan.header().to_vec();
    file.resize(plan.file_len() as usize, 0);
    assert_eq!(Reader::open(&file).expect("our own file").planes(), plan.planes());
    whole(&file);
}

fn weight(&[kind, bits, per, size, flags, rank, a, b]: &[u8; 8]) -> Weight {
    let lanes = Lanes::ALL[usize::from(kind / 4 % 4)];
    let size = usize::from(size);
    let encoding = match kind % 4 {
        0 => Encoding::Linear(Linear {
            bits,
            signed: flags & 1 != 0,
            granularity: match per % 3 {
                0 => Granularity::Tensor,
                1 => Granularity::Channel { axis: per / 3 },
                _ => Granularity::Block { size },
            },
            offset: flags & 2 != 0,
            lanes,
        }),
        1 => Encoding::Palette(Palette {
            bits,
            grouping: if per % 2 == 0 { Grouping::Tensor } else { Grouping::Group { size } },
            axis: per / 2 % 4,
            vector: flags / 4 % 8,
            entries: if flags & 1 == 0 { Entries::F16 } else { Entries::Int8 },
            channel_scale: flags & 2 != 0,
            lanes,
        }),
        2 => Encoding::Float { dtype: [Dtype::F16, Dtype::F32, Dtype::F64][usize::from(bits % 3)] },
        _ => Encoding::Raw { dtype: [Dtype::F4, Dtype::I64, Dtype::BOOL][usize::from(bits % 3)] },
    };
    let shape = [a.into(), b.into(), usize::from(flags / 32), 2, 1, 3, 1, 1];
    Weight { name: String::new(), shape: shape[..usize::from(rank % 9)].to_vec(), encoding }
}
