use super::*;
use std::collections::BTreeSet;

#[test]
fn each_name_stands_once() {
    let mut names = BTreeSet::new();
    for row in rows() {
        assert!(names.insert(row.name), "{row:?}");
        let params: BTreeSet<_> = row.params.iter().map(|param| param.name).collect();
        assert_eq!(params.len(), row.params.len(), "{row:?}");
    }
    assert_eq!(names.len(), 143);
}
