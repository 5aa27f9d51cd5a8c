//! Real servers in the kernel's layout, and in any other, decode to the same.

use proptest::{collection::vec, prelude::*};

use super::{
    super::{
        server::server_in_any_order, server_layout::server_in_order, uapi::top, wire::attributes,
    },
    *,
};

/// The nests of all servers in the recorded replies.
fn nests() -> Vec<Vec<u8>> {
    let payloads = payloads(&all_recorded("R"));
    let nests = payloads.iter().flat_map(|payload| attributes(payload));
    nests
        .filter(|(number, nest)| *number == top::DEST && nest.len() > 100)
        .map(|(_, nest)| nest.to_vec())
        .collect()
}

#[test]
fn servers_of_a_recent_kernel_have_its_layout() {
    let nests = nests();
    assert!(nests.len() > 10);
    for nest in nests {
        let decoded = server_in_order(&nest, Family::Ipv4);
        assert!(decoded.is_some());
        assert_eq!(decoded, server_in_any_order(&nest, Family::Ipv4));
    }
}

#[test]
fn a_server_without_its_family_or_with_more_attributes_decodes() {
    for nest in nests() {
        let whole = server(&outer(&nest), Family::Ipv4);
        let mut longer = nest.clone();
        wire::attribute(&mut longer, 99, &[1; 8]);
        assert_eq!(server_in_order(&longer, Family::Ipv4), None);
        assert_eq!(server(&outer(&longer), Family::Ipv4), whole);
        // The family, 8 bytes, precedes the counters.
        let mut without = Vec::new();
        for (number, value) in attributes(&nest).filter(|(number, _)| *number != 11) {
            wire::attribute(&mut without, number, value);
        }
        let family = Family::of(whole.as_ref().unwrap().key.address);
        assert_eq!(server_in_order(&without, family), None);
        assert_eq!(server(&outer(&without), family), whole);
    }
}

fn outer(nest: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    wire::attribute(&mut message, top::DEST, nest);
    message
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_decodes_in_order_decodes_the_same_in_any_order(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        is_ipv6 in any::<bool>(),
    ) {
        let mut nest = which.get(&nests()).clone();
        for (place, byte) in changes {
            *place.get_mut(&mut nest) = byte;
        }
        let family = if is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        if let Some(server) = server_in_order(&nest, family) {
            prop_assert_eq!(Some(server), server_in_any_order(&nest, family));
        }
    }
}
