use super::*;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/npz").join(name)
}

/// All elements of the array of this name.
fn elements(npz: &Npz, name: &str) -> Vec<u8> {
    let place = npz.arrays.iter().position(|array| array.name == name).unwrap();
    let mut bytes = Vec::new();
    npz.read(place).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn arrays_of_every_type_are_what_numpy_saved() {
    for name in ["stored.npz", "deflated.npz"] {
        let npz = Npz::open(&fixture(name)).unwrap();
        assert_eq!(npz.arrays.len(), 11);
        assert!(npz.tensors().iter().all(|(.., shape)| *shape == [2, 3]));
        let signed: [i64; 6] = [-2, -1, 0, 1, 2, 3];
        let le =
            |of: &dyn Fn(i64) -> Vec<u8>| signed.iter().flat_map(|&k| of(k)).collect::<Vec<_>>();
        let halves = |k: i64| half::f16::from_f64(k as f64).to_le_bytes().to_vec();
        assert_eq!(elements(&npz, "f2"), le(&halves));
        assert_eq!(elements(&npz, "f4"), le(&|k| (k as f32).to_le_bytes().into()));
        assert_eq!(elements(&npz, "f8"), le(&|k| (k as f64).to_le_bytes().into()));
        assert_eq!(elements(&npz, "i1"), le(&|k| (k as i8).to_le_bytes().into()));
        assert_eq!(elements(&npz, "i2"), le(&|k| (k as i16).to_le_bytes().into()));
        assert_eq!(elements(&npz, "i4"), le(&|k| (k as i32).to_le_bytes().into()));
        assert_eq!(elements(&npz, "i8"), le(&|k| k.to_le_bytes().into()));
        assert_eq!(elements(&npz, "u1"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(elements(&npz, "u2"), le(&|k| ((k + 2) as u16).to_le_bytes().into()));
        assert_eq!(elements(&npz, "u4"), le(&|k| ((k + 2) as u32).to_le_bytes().into()));
        assert_eq!(elements(&npz, "b1"), [1, 0, 1, 0, 0, 1]);
    }
}

#[test]
fn a_file_with_any_byte_changed_gives_other_elements_only_with_an_error() {
    for name in ["stored.npz", "deflated.npz"] {
        let sound = std::fs::read(fixture(name)).unwrap();
        let whole: Vec<Vec<u8>> =
            read(&sound).unwrap().into_iter().map(|(_, bytes)| bytes).collect();
        let mut refused = 0;
        for place in 0..sound.len() {
            for flip in [0xFF, 0x01] {
                let mut broken = sound.clone();
                broken[place] ^= flip;
                match read(&broken) {
                    Ok(arrays) => {
                        assert!(arrays.iter().all(|(_, bytes)| whole.contains(bytes)), "{place}");
                    }
                    Err(_) => refused += 1,
                }
            }
            // Cut off there.
            refused += usize::from(read(&sound[..place]).is_err());
        }
        assert!(refused > sound.len() * 2, "{refused} of {}", sound.len() * 3);
    }
}

/// All arrays of a file.
fn read(file: &[u8]) -> std::result::Result<Vec<(String, Vec<u8>)>, String> {
    let found = arrays(file, "x.npz").map_err(|error| error.to_string())?;
    let all = found.into_iter().map(|array| {
        let mut bytes = Vec::new();
        array.member.read(file).read_to_end(&mut bytes).map_err(|why| why.to_string())?;
        Ok((array.name, bytes.split_off(array.header as usize)))
    });
    all.collect()
}

#[test]
fn headers_that_cannot_be_read_are_told() {
    let told = |dictionary: &str| {
        let len = (dictionary.len() as u16).to_le_bytes();
        let file = [b"\x93NUMPY\x01\0", &len[..], dictionary.as_bytes()].concat();
        npy::header(&mut &file[..])
            .map_or_else(|why| why, |(dtype, shape, len)| format!("{dtype:?} {shape:?} {len}"))
    };
    let cases = [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<U3', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '<f4', 'fortran_order': False}",
    ];
    insta::assert_snapshot!(cases.map(told).join("\n"), @r"
    F32 [3] 67
    F32 [] 65
    its type is `>f4`; f2, f4, f8, i1 to i8, u1 to u4 and b1, little-endian, can be read
    its type is `<U3`; f2, f4, f8, i1 to i8, u1 to u4 and b1, little-endian, can be read
    its header is `{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }`; fields have no place here
    it is in Fortran order; save numpy.ascontiguousarray of it
    its header is `{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }`
    its header is `{'descr': '<f4', 'fortran_order': False}`
    ");
    assert!(
        npy::header(&mut &b"\x93NUMPY\x02\0\xFF\xFF\xFF\xFF"[..]).unwrap_err().contains("larger")
    );
    assert!(npy::header(&mut &b"\x93NUMPY\x04\0"[..]).unwrap_err().contains("3.0"));
}
