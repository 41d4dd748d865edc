//! `weight.bin`, blob storage version 2: the tensors beside a CoreML model.
//!
//! Little-endian throughout. A header of 64 bytes (u32 blob count, u32 version 2), then for each
//! blob a metadata record of 64 bytes at a multiple of 64, and its data behind it:
//!
//! | field | offset | type | value |
//! |---|---|---|---|
//! | sentinel | 0 | u32 | `0xDEADBEEF` |
//! | dtype | 4 | u32 | [`DataType::blob_number`] |
//! | sizeInBytes | 8 | u64 | data bytes, the padded last byte included |
//! | offset | 16 | u64 | of the data in the file |
//! | padding_size_in_bits | 24 | u64 | unused high bits of the last byte |
//! | reserved | 32 | 32 bytes | 0; ignored when read |
//!
//! A model refers to a blob by the offset of its *metadata*. [`Plan`] fixes every offset from
//! types and counts alone, so that data can be written later and in any order; [`Reader`] checks
//! each record before it gives out data.

use crate::mil::DataType;
use crate::{Error, Result};

/// Every metadata record and all data start at a multiple of this.
pub const ALIGNMENT: u64 = 64;
/// Bytes of the header, and of each metadata record.
pub const RECORD_LEN: usize = 64;

const SENTINEL: u32 = 0xdead_beef;
const VERSION: u32 = 2;
const FORMAT: &str = "weight.bin";
const REMEDY: &str = "fetch or convert the package again";

/// Where each blob of a file to be written stands.
///
/// Bytes between the records and data that are named here are zero: the fill behind a blob's data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    entries: Vec<Entry>,
}

/// One planned blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Element type.
    pub dtype: DataType,
    /// Number of elements.
    pub elements: u64,
    /// Where the metadata record goes: what the model's `BlobFileValue.offset` says.
    pub metadata_offset: u64,
    /// Where the data goes.
    pub data_offset: u64,
    /// Bytes of data.
    pub byte_len: u64,
    /// Unused high bits of the last byte, 0 to 7.
    pub padding_bits: u8,
}

impl Plan {
    /// A file without blobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob of `elements` packed elements behind the others. Packed indices of the iOS 16
    /// operations are UINT8 blobs, with a byte an element.
    ///
    /// # Errors
    /// [`Error::Bug`] for a type that `weight.bin` has no number for, and where a count passes
    /// what the file's fields hold.
    pub fn add(&mut self, dtype: DataType, elements: u64) -> Result<Entry> {
        let bug =
            |why: String| Error::Bug { place: format!("{FORMAT}, {} blob", dtype.name()), why };
        if dtype.blob_number().is_none() {
            return Err(bug("the type is always immediate".into()));
        }
        let too_large = || bug(format!("{elements} elements pass the file's fields"));
        if self.entries.len() >= u32::MAX as usize {
            return Err(too_large());
        }
        let byte_len = dtype.byte_len(elements).ok_or_else(too_large)?;
        let bits = u64::from(dtype.bits().unwrap_or(8));
        let padding_bits = ((8 - elements % 8 * bits % 8) % 8) as u8;
        let metadata_offset = self.byte_len().checked_next_multiple_of(ALIGNMENT);
        let data_offset = metadata_offset.and_then(|m| m.checked_add(ALIGNMENT));
        let end = data_offset.and_then(|d| d.checked_add(byte_len));
        let (Some(metadata_offset), Some(data_offset), Some(_)) =
            (metadata_offset, data_offset, end)
        else {
            return Err(too_large());
        };
        let entry = Entry { dtype, elements, metadata_offset, data_offset, byte_len, padding_bits };
        self.entries.push(entry);
        Ok(entry)
    }

    /// The blobs, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there are no blobs; a package then has no `weight.bin`.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the whole file. The last blob's data ends it.
    pub fn byte_len(&self) -> u64 {
        self.entries.last().map_or(RECORD_LEN as u64, |e| e.data_offset + e.byte_len)
    }

    /// The header, for offset 0.
    pub fn header(&self) -> [u8; RECORD_LEN] {
        let mut header = [0; RECORD_LEN];
        header[..4].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&VERSION.to_le_bytes());
        header
    }

    /// The header and every metadata record, each with its offset, in the order of the file.
    pub fn records(&self) -> impl Iterator<Item = (u64, [u8; RECORD_LEN])> + '_ {
        let metadata = self.entries.iter().map(|e| (e.metadata_offset, e.metadata()));
        std::iter::once((0, self.header())).chain(metadata)
    }
}

impl Entry {
    /// The metadata record, for [`Entry::metadata_offset`].
    pub fn metadata(&self) -> [u8; RECORD_LEN] {
        let dtype = self.dtype.blob_number().unwrap_or(0); // `Plan::add` took none without.
        let mut record = [0; RECORD_LEN];
        record[..4].copy_from_slice(&SENTINEL.to_le_bytes());
        record[4..8].copy_from_slice(&dtype.to_le_bytes());
        record[8..16].copy_from_slice(&self.byte_len.to_le_bytes());
        record[16..24].copy_from_slice(&self.data_offset.to_le_bytes());
        record[24..32].copy_from_slice(&u64::from(self.padding_bits).to_le_bytes());
        record
    }
}

/// One blob of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    /// Element type.
    pub dtype: DataType,
    /// Number of elements.
    pub elements: u64,
    /// The elements, little-endian, packed.
    pub data: &'a [u8],
    /// Where the metadata record stands.
    pub metadata_offset: u64,
    /// Where the data stands.
    pub data_offset: u64,
}

/// A whole file in memory, usually mapped; only its header is checked until a blob is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Reader<'a> {
    /// Checks the header.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a file shorter than its header; [`Error::Unsupported`] for another
    /// version than 2.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let header = record(bytes, 0)
            .ok_or_else(|| malformed(0, format!("{} bytes are no header of 64", bytes.len())))?;
        let version = u32_at(header, 4);
        if version != VERSION {
            return Err(Error::Unsupported {
                place: format!("{FORMAT}, byte 4"),
                found: format!("the blob storage version is {version}"),
                can: "version 2 can be read, which every ML Program has".into(),
            });
        }
        Ok(Self { bytes, count: u32_at(header, 0) })
    }

    /// How many blobs the header says there are. Only [`Reader::walk`] looks whether it is true.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The blob whose metadata stands at `offset`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an offset that is not a multiple of 64 or lies outside the file, a
    /// record without sentinel, an unknown type, data that overlap their record, are not at a
    /// multiple of 64 or pass the end of the file, and a size or padding that is no whole number
    /// of elements.
    pub fn get(&self, offset: u64) -> Result<Blob<'a>> {
        let wrong = |at: u64, found: String| Err(malformed(offset.saturating_add(at), found));
        if !offset.is_multiple_of(ALIGNMENT) || offset == 0 {
            return wrong(0, "metadata stand at multiples of 64 behind the header".into());
        }
        let Some(record) = record(self.bytes, offset) else {
            let len = self.bytes.len();
            return wrong(0, format!("a metadata record passes the end of the file, {len}"));
        };
        let sentinel = u32_at(record, 0);
        if sentinel != SENTINEL {
            return wrong(0, format!("0x{sentinel:08x} is not the 0xdeadbeef of metadata"));
        }
        let number = u32_at(record, 4);
        let Some(dtype) = DataType::from_blob_number(number) else {
            return wrong(4, format!("{number} is no type of blobs"));
        };
        let size = u64_at(record, 8);
        let start = u64_at(record, 16);
        let padding = u64_at(record, 24);
        if !start.is_multiple_of(ALIGNMENT) || start - offset.min(start) < ALIGNMENT {
            return wrong(
                16,
                format!("data at {start} do not stand at a multiple of 64 behind it"),
            );
        }
        let data = start.checked_add(size).and_then(|end| {
            self.bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
        });
        let Some(data) = data else {
            let len = self.bytes.len();
            let at = if start > len as u64 { 16 } else { 8 };
            return wrong(at, format!("{size} bytes at {start} pass the end of the file, {len}"));
        };
        // In 128 bits: 8 · size cannot overflow. Blob types all have a width.
        let bits = u128::from(dtype.bits().unwrap_or(8));
        let all = 8 * u128::from(size);
        if padding > 7
            || u128::from(padding) > all
            || !(all - u128::from(padding)).is_multiple_of(bits)
        {
            return wrong(
                24,
                format!(
                    "{size} bytes less {padding} bits are no whole number of {} elements",
                    dtype.name()
                ),
            );
        }
        let Ok(elements) = u64::try_from((all - u128::from(padding)) / bits) else {
            return wrong(8, format!("{size} bytes are more elements than can be counted"));
        };
        Ok(Blob { dtype, elements, data, metadata_offset: offset, data_offset: start })
    }

    /// Every blob, in the order of the file, from the header on.
    ///
    /// # Errors
    /// As [`Reader::get`]; and [`Error::Malformed`] where the blobs that the header counts do not
    /// end with the file.
    pub fn walk(&self) -> Result<Vec<Blob<'a>>> {
        let mut blobs = Vec::new();
        let mut end = RECORD_LEN as u64;
        for _ in 0..self.count {
            let next = end.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX);
            let blob = self.get(next)?;
            end = blob.data_offset + blob.data.len() as u64;
            blobs.push(blob);
        }
        if end != self.bytes.len() as u64 {
            let len = self.bytes.len();
            return Err(malformed(
                0,
                format!("the header's {} blobs end at {end}, the file at {len}", self.count),
            ));
        }
        Ok(blobs)
    }
}

/// The 64 bytes at `offset`, where the file has them.
fn record(bytes: &[u8], offset: u64) -> Option<&[u8; RECORD_LEN]> {
    bytes.get(usize::try_from(offset).ok()?..)?.first_chunk()
}

fn u32_at(record: &[u8; RECORD_LEN], at: usize) -> u32 {
    u64_at(record, at) as u32
}

fn u64_at(record: &[u8; RECORD_LEN], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&record[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn malformed(at: u64, found: String) -> Error {
    Error::Malformed { format: FORMAT, place: format!("byte {at}"), found, remedy: REMEDY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The planned file with this data.
    fn write(plan: &Plan, data: &[&[u8]]) -> Vec<u8> {
        let mut file = vec![0; usize::try_from(plan.byte_len()).expect("a small file")];
        let mut put = |at: u64, bytes: &[u8]| {
            let at = usize::try_from(at).expect("a small file");
            file[at..at + bytes.len()].copy_from_slice(bytes);
        };
        for (at, record) in plan.records() {
            put(at, &record);
        }
        for (entry, data) in plan.entries().iter().zip(data) {
            put(entry.data_offset, data);
        }
        file
    }

    /// FP16 [1, −2, 0.5] and INT4 [1, −2, 7, −8, 3].
    fn worked_example() -> Vec<u8> {
        let mut plan = Plan::new();
        plan.add(DataType::Float16, 3).expect("small");
        plan.add(DataType::Int4, 5).expect("small");
        write(&plan, &[&[0, 0x3c, 0, 0xc0, 0, 0x38], &[0xe1, 0x87, 0x03]])
    }

    #[test]
    fn the_worked_example_has_the_bytes_that_coremltools_writes() {
        let file = worked_example();
        #[rustfmt::skip]
        let rows: &[(usize, [u8; 16])] = &[
            (0x00,  [2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (0x40,  [0xef, 0xbe, 0xad, 0xde, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]),
            (0x50,  [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (0x80,  [0, 0x3c, 0, 0xc0, 0, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (0xc0,  [0xef, 0xbe, 0xad, 0xde, 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]),
            (0xd0,  [0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (at, chunk) in file.chunks(16).enumerate() {
            let want = rows.iter().find(|(row, _)| *row == 16 * at).map_or([0; 16], |(_, w)| *w);
            if 16 * at < 0x100 {
                assert_eq!(chunk, want, "row {:#x}", 16 * at);
            }
        }
        assert_eq!(file[0x100..], [0xe1, 0x87, 0x03], "the last data end the file");

        let reader = Reader::new(&file).expect("own file");
        let int4 = reader.get(0xc0).expect("own blob");
        assert_eq!((int4.dtype, int4.elements, int4.data), (DataType::Int4, 5, &file[0x100..]));
        let all: Vec<_> =
            reader.walk().expect("own file").iter().map(|b| b.metadata_offset).collect();
        assert_eq!(all, [0x40, 0xc0]);
    }

    #[test]
    fn padding_counts_the_unused_bits_of_the_last_byte() {
        #[rustfmt::skip]
        let cases = [
            (DataType::Int4,  5,  3, 4),
            (DataType::UInt1, 10, 2, 6),
            (DataType::UInt2, 5,  2, 6),
            (DataType::UInt3, 9,  4, 5),
            (DataType::UInt4, 3,  2, 4),
            (DataType::UInt6, 5,  4, 2),
            (DataType::UInt3, 8,  3, 0),
            (DataType::Int32, 3,  12, 0),
            (DataType::UInt8, 0,  0, 0),
        ];
        for (dtype, elements, byte_len, padding_bits) in cases {
            let entry = Plan::new().add(dtype, elements).expect("small");
            assert_eq!((entry.byte_len, entry.padding_bits), (byte_len, padding_bits), "{dtype:?}");
        }
    }

    #[test]
    fn files_beyond_four_gibibytes_keep_their_offsets() {
        let mut plan = Plan::new();
        let first = plan.add(DataType::Float16, 3 << 30).expect("6 GiB");
        let second = plan.add(DataType::UInt3, (3 << 30) + 1).expect("1.125 GiB");
        assert_eq!(first.byte_len, 6 << 30);
        assert_eq!(second.metadata_offset, 128 + (6 << 30));
        assert_eq!(second.metadata()[16..24], (192u64 + (6 << 30)).to_le_bytes());
        assert_eq!(plan.byte_len(), 192 + (6 << 30) + (9 << 27) + 1);

        assert!(
            plan.add(DataType::Int8, u64::MAX - (7 << 30)).is_err(),
            "the file's end overflows"
        );
        assert!(plan.add(DataType::Float32, u64::MAX).is_err(), "the size overflows");
        assert!(plan.add(DataType::Bool, 1).is_err(), "booleans are never in the file");
        assert_eq!(plan.entries().len(), 2, "a refused blob leaves no trace");
    }

    #[test]
    fn every_broken_field_is_found_and_named() {
        #[rustfmt::skip]
        let cases: &[(&str, usize, &[u8])] = &[
            ("sentinel",                   0,  &[0]),
            ("type 0",                     4,  &[0]),
            ("type 18",                    4,  &[18]),
            ("size past the end",          8,  &[0xff]),
            ("size that overflows",        8,  &[0xff; 8]),
            ("data on the record",         16, &[0xc0, 0]),
            ("data before the record",     16, &[0x40, 0]),
            ("unaligned data",             16, &[1, 1]),
            ("data past the end",          16, &[0x40, 1]),
            ("data offset that overflows", 16, &[0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            ("padding of a byte",          24, &[8]),
            ("padding of half an element", 24, &[2]),
        ];
        for &(name, field, bytes) in cases {
            let mut file = worked_example();
            file[0xc0 + field..][..bytes.len()].copy_from_slice(bytes);
            let reader = Reader::new(&file).expect("the header stands");
            let error = reader.get(0xc0).expect_err(name).to_string();
            assert!(error.contains(&format!("byte {}:", 0xc0 + field)), "{name}: {error}");
        }
        let file = worked_example();
        let reader = Reader::new(&file).expect("own file");
        for offset in [0, 1, 0x80, 0x100, 0x140, u64::MAX, u64::MAX - 63] {
            assert!(reader.get(offset).is_err(), "no metadata at {offset:#x}");
        }
    }

    #[test]
    fn reserved_bytes_may_hold_garbage() {
        let mut file = worked_example();
        file[0xe0..0x100].fill(0x55);
        assert!(Reader::new(&file).expect("own file").walk().is_ok());
    }

    #[test]
    fn a_header_that_miscounts_is_found_by_a_walk() {
        for count in [0, 1, 3, 255] {
            let mut file = worked_example();
            file[0] = count;
            assert!(Reader::new(&file).expect("version 2").walk().is_err(), "{count} blobs");
        }
        let mut file = worked_example();
        file[0] = 1;
        let error = Reader::new(&file).expect("version 2").walk().unwrap_err();
        insta::assert_snapshot!(error, @"malformed weight.bin, byte 0: the header's 1 blobs end at 134, the file at 259; fetch or convert the package again");
    }

    #[test]
    fn other_files_are_refused_by_their_header() {
        let error = |bytes: &[u8]| Reader::new(bytes).unwrap_err().to_string();
        insta::assert_snapshot!(error(&[0; 63]), @"malformed weight.bin, byte 0: 63 bytes are no header of 64; fetch or convert the package again");
        insta::assert_snapshot!(error(&[1; 64]), @"weight.bin, byte 4: the blob storage version is 16843009; version 2 can be read, which every ML Program has");
    }

    /// Types that blobs can have.
    fn blob_types() -> Vec<DataType> {
        DataType::ALL.iter().copied().filter(|t| t.blob_number().is_some()).collect()
    }

    proptest! {
        #[test]
        fn planned_files_read_back(
            blobs in prop::collection::vec((prop::sample::select(blob_types()), 0u64..200), 0..12),
        ) {
            let mut plan = Plan::new();
            let mut data = Vec::new();
            for (i, &(dtype, elements)) in blobs.iter().enumerate() {
                let entry = plan.add(dtype, elements).expect("small");
                data.push(vec![i as u8 + 1; entry.byte_len as usize]);
            }
            let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let file = write(&plan, &slices);
            let read = Reader::new(&file).expect("own file").walk().expect("own file");
            prop_assert_eq!(read.len(), blobs.len());
            for ((blob, entry), data) in read.iter().zip(plan.entries()).zip(&data) {
                prop_assert_eq!((blob.dtype, blob.elements), (entry.dtype, entry.elements));
                prop_assert_eq!(blob.data, &data[..]);
                prop_assert_eq!(blob.metadata_offset, entry.metadata_offset);
            }
        }

        #[test]
        fn mutated_files_are_errors_or_blobs_never_a_panic(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
            offset in any::<u64>(),
        ) {
            let mut file = worked_example();
            for (at, byte) in edits {
                let at = at.index(file.len());
                file[at] = byte;
            }
            if let Some(cut) = cut {
                file.truncate(cut.index(file.len()));
            }
            if let Ok(reader) = Reader::new(&file) {
                let _ = reader.walk();
                for offset in [0x40, 0xc0, offset, offset & !63] {
                    if let Ok(blob) = reader.get(offset) {
                        prop_assert_eq!(blob.dtype.byte_len(blob.elements), Some(blob.data.len() as u64));
                    }
                }
            }
        }
    }
}
