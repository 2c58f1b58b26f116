//! Mutation of good bytes: a place is flipped, replaced, cut, doubled, percent-encoded, or overwritten with a token
//! that means something to a parser; or the whole is spliced with another seed.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::Index;

/// Tokens that mean something to one parser or another.
const DICTIONARY: [&[u8]; 34] = [
    b"\0",
    b"\r\n",
    b"\n\n",
    b"\n",
    b"%",
    b"%00",
    b"%FF",
    b"%ff%fe",
    b"|",
    b"||",
    b"&",
    b"=",
    b";",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\xff",
    b"\xc3\x28",
    b"\xf0\x9f\x98\x80",
    b":",
    b": ",
    b",",
    b".",
    b"..",
    b"%21",
    b"\ncontent-type: application/json\n",
    b" ",
];

/// One change at one place.
type Mutation = (u8, Index, u8, u8, Index);

/// These seeds, each mutated in one to five places.
pub fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (0_u8..10, any::<Index>(), any::<u8>(), any::<u8>(), any::<Index>());
    let picked = any::<Index>();
    (picked, vec(change, 1..6)).prop_map(move |(picked, changes)| {
        let mut bytes = pick(&seeds, picked).to_vec();
        for change in changes {
            apply(&mut bytes, change, &seeds);
        }
        bytes
    })
}

fn pick<T>(items: &[T], index: Index) -> &T {
    index.get(items)
}

fn apply(bytes: &mut Vec<u8>, (kind, at, length, byte, other): Mutation, seeds: &[Vec<u8>]) {
    let at = at.index(bytes.len() + 1);
    let end = (at + 1 + usize::from(length % 24)).min(bytes.len());
    match kind {
        0 => {
            if let Some(place) = bytes.get_mut(at) {
                *place ^= 1 << (byte % 8);
            }
        }
        1 => {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        2 => {
            if at < end {
                bytes.drain(at..end);
            }
        }
        3 => {
            let copy = bytes.get(at..end).unwrap_or_default().to_vec();
            bytes.splice(at..at, copy);
        }
        4 | 5 => {
            bytes.splice(at..at, pick(&DICTIONARY, other).iter().copied());
        }
        6 => bytes.truncate(at),
        7 => {
            if at < end {
                let encoded: String =
                    bytes.drain(at..end).map(|byte| format!("%{byte:02X}")).collect();
                bytes.splice(at..at, encoded.into_bytes());
            }
        }
        8 => {
            // The front of one seed, the back of another.
            let other = pick(seeds, other);
            let from = usize::from(length) * other.len() / 256;
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(from..).unwrap_or_default());
        }
        _ => {
            bytes.splice(at..at, std::iter::repeat_n(byte, usize::from(length)));
        }
    }
}
