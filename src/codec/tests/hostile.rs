//! No input causes a panic or an endless loop.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Decodes a datagram in every way. Returns the number of messages.
fn read_all(bytes: &[u8]) -> usize {
    let mut read = 0;
    for message in wire::messages(bytes) {
        read += 1;
        if let wire::Kind::Attributes(payload) = message.kind {
            read_payload(payload);
        }
    }
    read_payload(bytes);
    drop(connection(bytes));
    let _ = totals(&String::from_utf8_lossy(bytes));
    let _ = counted_totals(&String::from_utf8_lossy(bytes));
    read
}

fn read_payload(bytes: &[u8]) {
    let _ = (
        family_id(bytes),
        service(bytes),
        info(bytes),
        timeouts(bytes),
        sync_daemon(bytes),
    );
    for family in [Family::Ipv4, Family::Ipv6] {
        let _ = server(bytes, family);
    }
    assert!(wire::attributes(bytes).count() <= bytes.len() / 4 + 1);
}

#[test]
fn a_truncated_outcome_is_not_a_success() {
    // An NLMSG_ERROR of 18 bytes.
    let mut short = recorded("ipvsadm -A -f 7 -s rr", "R").remove(0);
    short.truncate(18);
    short[..4].copy_from_slice(&18_u32.to_ne_bytes());
    assert_eq!(wire::messages(&short).count(), 0);
}

#[test]
fn decoding_stops_at_a_truncated_message() {
    for datagram in all_recorded("R") {
        let whole = wire::messages(&datagram).count();
        assert!(whole > 0);
        for end in 0..datagram.len() {
            assert!(read_all(&datagram[..end]) < whole);
        }
    }
}

#[test]
fn wrong_lengths_do_not_panic() {
    for length in [0_u32, 1, 15, 16, 17, 19, 20, 1 << 20, u32::MAX] {
        for datagram in all_recorded("R") {
            let mut wrong = datagram.clone();
            wrong[..4].copy_from_slice(&length.to_ne_bytes());
            read_all(&wrong);
            for length in [0_u16, 3, 4, 5, 0xffff]
                .into_iter()
                .filter(|_| datagram.len() > 20)
            {
                let mut wrong = datagram.clone();
                wrong[20..22].copy_from_slice(&length.to_ne_bytes());
                read_all(&wrong);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    #[test]
    fn modified_real_messages_do_not_panic(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut all = all_recorded("R");
        all.extend(all_recorded("S"));
        let mut datagram = which.get(&all).clone();
        for (place, byte) in changes {
            *place.get_mut(&mut datagram) = byte;
        }
        read_all(&datagram);
    }

    #[test]
    fn small_lengths_and_known_numbers_do_not_panic(
        attributes in vec((0..24_u16, 0..16_u16, any::<u64>()), 0..40),
    ) {
        let mut bytes = Vec::new();
        for (length, number, value) in attributes {
            bytes.extend(length.to_ne_bytes());
            bytes.extend(number.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        for outer in 1..=3 {
            let mut nested = Vec::new();
            wire::attribute(&mut nested, outer, &bytes);
            read_all(&nested);
        }
    }
}
