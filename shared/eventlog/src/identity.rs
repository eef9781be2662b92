//! Ids that follow from other ids, so that a repeat makes the same ones.

use uuid::Uuid;

/// The namespace of command ids; fixed for ever, since stored ids follow from it.
const REACTIONS: Uuid = Uuid::from_u128(0x7472_6961_6c6f_5072_8ea6_7465_6163_7469);
/// Bytes of a fingerprint. 16 are enough to tell two requests of one key apart.
pub(crate) const FINGERPRINT_BYTES: usize = 16;

/// The command id of a reaction to an event: UUIDv5 of (source, position, reaction name).
///
/// A consumer that sees the event again sends the same id, and the log answers with the first result.
pub fn command_id(source: &str, position: i64, reaction: &str) -> Uuid {
    let position = position.to_string();
    let mut name = Vec::with_capacity(source.len() + position.len() + reaction.len() + 2);
    name.extend_from_slice(source.as_bytes());
    name.push(0);
    name.extend_from_slice(position.as_bytes());
    name.push(0);
    name.extend_from_slice(reaction.as_bytes());
    Uuid::new_v5(&REACTIONS, &name)
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
    fn a_key_for_another_stream_or_request_is_another_fingerprint() {
        let hash = [7; 32];
        assert_ne!(fingerprint("a", None), fingerprint("b", None));
        assert_ne!(fingerprint("a", None), fingerprint("a", Some(&hash)));
        assert_eq!(fingerprint("a", Some(&hash)), fingerprint("a", Some(&hash)));
    }
}
