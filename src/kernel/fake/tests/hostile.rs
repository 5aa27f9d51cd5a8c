//! No input causes a panic.

use proptest::prelude::*;

use super::*;

/// Sends the bytes and receives all replies.
fn feed(kernel: &FakeKernel, bytes: &[u8]) {
    let mut socket = kernel.connect().unwrap();
    let _ = socket.send(bytes);
    while let Some(datagram) = receive(socket.as_mut()) {
        messages(&datagram);
    }
}

fn populated() -> FakeKernel {
    let kernel = FakeKernel::new();
    fill(&kernel, 3);
    kernel
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        feed(&populated(), &bytes);
    }

    #[test]
    fn any_attributes_of_any_command(
        family in prop_oneof![Just(16u16), Just(FAMILY), any::<u16>()],
        command in prop_oneof![0..20u8, any::<u8>()],
        flags in prop_oneof![Just(1u16), Just(5u16), Just(0x301u16), any::<u16>()],
        attributes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        feed(&populated(), &message(family, command, flags, 1, &attributes));
    }

    #[test]
    fn any_change_of_good_requests(
        command in 1..=FLUSH,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let kernel = populated();
        let flags = if command == GET_DEST { DUMP } else { ACK };
        let daemon = empty(3).u32(1, 1).with(2, b"lo\0").u32(3, 1).bytes();
        let attributes = [svc().bytes(), dest().bytes(), daemon].concat();
        let mut bytes = request(command, flags, 1, &attributes);
        let at = at.index(bytes.len());
        bytes[at] = value;
        let cut = cut.index(bytes.len());
        feed(&kernel, &bytes);
        feed(&kernel, &bytes[..cut]);
        // Truncated attributes in a message with a correct length.
        let cut = cut.max(20);
        let mut bytes = bytes[..cut].to_vec();
        bytes[..4].copy_from_slice(&(cut as u32).to_ne_bytes());
        feed(&kernel, &bytes);
    }
}
