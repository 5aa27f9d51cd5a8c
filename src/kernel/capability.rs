//! The capability of the process that IPVS requires.

use std::io;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Makes CAP_NET_ADMIN effective in this thread, and in those that it starts afterwards, if it is permitted: the file of
/// the program may permit it to a user without privileges (`setcap cap_net_admin=p`), as in the container image. Were
/// it effective by the file (`=ep`), the kernel would refuse to execute the program where the capability is not
/// available, and nothing would say what is missing.
pub fn use_permitted_capability() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    let missing = sets.permitted & (CapabilitySet::NET_ADMIN - sets.effective);
    if missing.is_empty() {
        return Ok(());
    }
    sets.effective |= missing;
    Ok(set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    /// Sets the capability of this thread as the execution of a file does, and returns its sets after the start.
    fn start(permitted: CapabilitySet, effective: CapabilitySet) -> CapabilitySet {
        let mut sets = capabilities(None).unwrap();
        (sets.permitted, sets.effective) = (permitted, effective);
        sets.inheritable = CapabilitySet::empty();
        set_capabilities(None, sets).unwrap();
        use_permitted_capability().unwrap();
        capabilities(None).unwrap().effective
    }

    /// Each thread has sets of its own. Without the capability, only the second half can be tested.
    #[test]
    fn a_capability_is_used_if_it_is_permitted() {
        let net_admin = CapabilitySet::NET_ADMIN;
        let available = capabilities(None).unwrap().permitted;
        let in_thread = |permitted: CapabilitySet, effective| {
            let thread = std::thread::spawn(move || start(permitted & available, effective));
            thread.join().unwrap()
        };
        let none = CapabilitySet::empty();
        assert_eq!(in_thread(net_admin, none), net_admin & available);
        assert_eq!(in_thread(available, none), net_admin & available);
        assert_eq!(in_thread(none, none), none);
    }
}
