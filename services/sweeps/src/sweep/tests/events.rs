//! Events that were ever released are read for ever.

use vocabulary::StoredEvent;

use crate::sweep::SweepEvent;

#[test]
fn every_released_event_is_still_read() {
    // An upgrade that cannot read an old event would lose the sweep.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/events");
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (kind, schema) = stem.split_once('.').unwrap();
        let data = std::fs::read_to_string(&path).unwrap();
        let event = SweepEvent::decode(kind, schema.parse().unwrap(), &data).unwrap();
        // What is written today reads back to the same; as texts, since a NaN is not equal to itself.
        let written = event.encode().unwrap();
        let again = SweepEvent::decode(kind, event.schema(), &written).unwrap();
        assert_eq!(written, again.encode().unwrap(), "{kind}");
        read += 1;
    }
    assert_eq!(read, 30);
}
