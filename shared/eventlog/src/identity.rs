//! Ids that follow from other ids, so that a repeat makes the same ones.

use uuid::Uuid;

/// Bytes of a fingerprint. 16 are enough to tell two requests of one key apart.
pub(crate) const FINGERPRINT_BYTES: usize = 16;

/// Bits of a position that an id holds: more than any log will ever have.
const POSITION_BITS: u32 = 48;

/// The command id of a reaction to an event: a UUIDv8 of the source's hash (32 bits), the position (48 bits) and the
/// hash of (source, position, reaction) (42 bits).
///
/// A consumer that sees the event again sends the same id, and the log answers with the first result. Ids of one source
/// rise with the position, so that the reactions to a thousand events are a few pages of the table of commands instead
/// of a thousand: a hash alone (UUIDv5) would write one for each.
pub fn command_id(source: &str, position: i64, reaction: &str) -> Uuid {
    let place = position.unsigned_abs() & ((1 << POSITION_BITS) - 1);
    let mut hasher = blake3::Hasher::new();
    hasher.update(source.as_bytes()).update(&[0]);
    let of_source = first_bits(&hasher, 32);
    hasher.update(&position.to_be_bytes()).update(reaction.as_bytes());
    let of_all = first_bits(&hasher, 42);
    // The version's 4 bits stand after the first 48, the variant's 2 after the first 64.
    let high = (of_source << 32) | ((place >> 32) << 16) | ((place >> 20) & 0xfff);
    let low = ((place & 0xf_ffff) << 42) | of_all;
    uuid::Builder::from_custom_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes()).into_uuid()
}

fn first_bits(hasher: &blake3::Hasher, bits: u32) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(first) >> (64 - bits)
}

/// The id of the `index`-th event of a command.
pub(crate) fn event_id(command_id: Uuid, index: usize) -> Uuid {
    Uuid::new_v5(&command_id, &(index as u64).to_be_bytes())
}

/// What a command id was used for: the stream and the request's hash.
pub(crate) fn fingerprint(stream: &str, request_hash: Option<&[u8; 32]>) -> [u8; FINGERPRINT_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(request_hash.map_or(&[][..], |hash| hash.as_slice()));
    hasher.update(&[u8::from(request_hash.is_some())]);
    hasher.update(stream.as_bytes());
    let mut short = [0; FINGERPRINT_BYTES];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..FINGERPRINT_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_reaction_do_not_run_into_each_other() {
        // "a1" at 2 and "a" at 12 must not share an id.
        assert_ne!(command_id("a1", 2, "r"), command_id("a", 12, "r"));
        assert_ne!(command_id("a", 1, "2r"), command_id("a", 12, "r"));
        assert_eq!(command_id("a", 1, "r"), command_id("a", 1, "r"));
    }

    #[test]
    fn ids_of_a_source_rise_with_the_position_and_none_is_another() {
        let mut positions: Vec<i64> = (0..48).flat_map(|bit| [(1 << bit) - 1, 1 << bit]).collect();
        positions.extend(1_000..3_000);
        positions.sort_unstable();
        positions.dedup();
        let ids: Vec<Uuid> = positions.iter().map(|position| command_id("runs@1", *position, "r")).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(ids.iter().all(|id| id.get_version_num() == 8 && id.get_variant() == uuid::Variant::RFC4122));
        assert!(
            ids.iter().all(|id| !ids.contains(&command_id("runs@2", 1, "r")) && *id != command_id("runs@1", 1, "s"))
        );
    }

    #[test]
    fn a_key_for_another_stream_or_request_is_another_fingerprint() {
        let hash = [7; 32];
        assert_ne!(fingerprint("a", None), fingerprint("b", None));
        assert_ne!(fingerprint("a", None), fingerprint("a", Some(&hash)));
        assert_eq!(fingerprint("a", Some(&hash)), fingerprint("a", Some(&hash)));
    }
}
