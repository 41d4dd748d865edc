//! Files written here by hand; those of other programs are read where they are used.

use super::*;
use proptest::prelude::*;

/// A text as it is stored.
fn text(of: &str) -> Vec<u8> {
    [&(of.len() as u64).to_le_bytes()[..], of.as_bytes()].concat()
}

/// A file: entries as key, type and value; tensors of FP32.
fn file(entries: &[(&str, u32, Vec<u8>)], tensors: &[(String, Vec<u64>, Vec<f32>)]) -> Vec<u8> {
    let mut file = [&MAGIC[..], &3u32.to_le_bytes()].concat();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((entries.len() as u64).to_le_bytes());
    for (key, kind, value) in entries {
        file.extend([&text(key)[..], &kind.to_le_bytes(), value].concat());
    }
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        file.extend(text(name));
        file.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|dim| file.extend(dim.to_le_bytes()));
        file.extend(0u32.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        data.resize(data.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    [file, data].concat()
}

fn some() -> Vec<u8> {
    let list = [&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &text("a"), &text("bc")].concat();
    let entries = [
        ("general.type", 8, text("imatrix")),
        ("n", 4, 7u32.to_le_bytes().into()),
        ("x", 12, 0.5f64.to_le_bytes().into()),
        ("is", 7, vec![1]),
        ("list", 9, list),
    ];
    let tensors = [
        ("a".to_owned(), vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("b".to_owned(), vec![1], vec![-1.5]),
    ];
    file(&entries, &tensors)
}

#[test]
fn what_is_written_is_read() {
    let file = some();
    let reader = Reader::open(&file).unwrap();
    assert_eq!(reader.text("general.type"), Some("imatrix"));
    assert_eq!(reader.metadata["n"], Value::Unsigned(7));
    assert_eq!(reader.metadata["x"], Value::Float(0.5));
    assert_eq!(reader.metadata["is"], Value::Bool(true));
    let Value::List(list) = reader.metadata["list"] else { panic!("it is a list") };
    assert_eq!(list.values().collect::<Vec<_>>(), [Value::Text("a"), Value::Text("bc")]);
    let [a, b] = &reader.tensors[..] else { panic!("there are two") };
    assert_eq!((a.name, &a.shape[..]), ("a", &[2, 3][..]));
    assert_eq!(reader.floats(a).unwrap().collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(reader.floats(b).unwrap().collect::<Vec<_>>(), [-1.5]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let told = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = some();
        change(&mut file);
        Reader::open(&file).unwrap_err().to_string()
    };
    let nested = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat();
    let nested = file(&[("l", 9, nested)], &[]);
    let huge = [&0u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    let huge = file(&[("l", 9, huge)], &[]);
    let align = file(&[("general.alignment", 4, 24u32.to_le_bytes().into())], &[]);
    let vast = file(&[], &[("v".into(), vec![u64::MAX, 2], vec![])]);
    let twice = ["t"; 2].map(|name| (name.to_owned(), vec![0], vec![]));
    let opened = |file: &[u8]| Reader::open(file).unwrap_err().to_string();
    let told = [
        told(&|file| file[0] = b'X'),
        told(&|file| file[4] = 1),
        told(&|file| file[4..8].reverse()),
        told(&|file| file[16] = 6),
        told(&|file| file.truncate(file.len() - 32)),
        opened(&nested),
        opened(&huge),
        opened(&align),
        opened(&vast),
        opened(&file(&[], &twice)),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    malformed GGUF, at byte 0: it does not begin with `GGUF`; fetch or write the file again
    GGUF: version 1; versions 2 and 3, little-endian, are read
    GGUF: version 3, big-endian; versions 2 and 3, little-endian, are read
    malformed GGUF, at byte 186: 134 bytes are left where 562949953421312 should be; fetch or write the file again
    malformed GGUF, at byte 204: tensor `b` [1] reaches beyond the file; fetch or write the file again
    GGUF, at byte 49: a list of lists; lists of numbers, flags and texts are read
    malformed GGUF, at byte 64: 0 bytes are left where 1 should be; fetch or write the file again
    malformed GGUF, at byte 57: `general.alignment` is Unsigned(24), and no power of two to 2^20; fetch or write the file again
    malformed GGUF, at byte 24: tensor `v` [18446744073709551615, 2] reaches beyond the file; fetch or write the file again
    malformed GGUF, at byte 57: tensor `t` stands twice; fetch or write the file again
    ");
}

#[test]
fn every_byte_may_be_any_other() {
    let file = some();
    for at in 0..file.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFF, file[at] ^ 1] {
            let mut changed = file.clone();
            changed[at] = value;
            let Ok(reader) = Reader::open(&changed) else { continue };
            for tensor in &reader.tensors {
                let elements: u64 = tensor.shape.iter().product();
                if let Some(floats) = reader.floats(tensor) {
                    assert_eq!(floats.len() as u64, elements);
                }
            }
        }
        assert!(Reader::open(&file[..at]).is_err() || at >= file.len() - 32, "cut at {at}");
    }
}

proptest! {
    #[test]
    fn tensors_come_back(
        tensors in prop::collection::btree_map("[a-z.0-9]{1,9}", prop::collection::vec(0u64..4, 0..=4), 0..6),
        names in prop::collection::btree_map("[a-z]{1,5}", "\\PC{0,6}", 0..4),
    ) {
        let entries: Vec<_> = names.iter().map(|(k, v)| (k.as_str(), 8, text(v))).collect();
        let tensors: Vec<_> = tensors
            .into_iter()
            .map(|(name, shape)| {
                let n = shape.iter().product::<u64>();
                (name, shape, (0..n).map(|i| i as f32 / 3.0).collect::<Vec<f32>>())
            })
            .collect();
        let file = file(&entries, &tensors);
        let reader = Reader::open(&file).unwrap();
        for (key, value) in &names {
            prop_assert_eq!(reader.text(key), Some(value.as_str()));
        }
        prop_assert_eq!(reader.tensors.len(), tensors.len());
        for (found, (name, shape, values)) in reader.tensors.iter().zip(&tensors) {
            prop_assert_eq!((found.name, &found.shape), (name.as_str(), shape));
            prop_assert_eq!(&reader.floats(found).unwrap().collect::<Vec<_>>(), values);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_sound(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = [&MAGIC[..], &3u32.to_le_bytes(), &bytes].concat();
        let _ = Reader::open(&file);
    }
}
